"""The bases of all configuration models."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, PrivateAttr, model_validator
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Strict and immutable: camelCase keys, no unknown key, no silent conversion of types."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


class WrittenModel(Model):
    """A model that knows what the configuration has: names of the catalogue, and no defaults."""

    _written: Mapping[str, Any] = PrivateAttr(default={})

    @model_validator(mode="wrap")
    @classmethod
    def _keep_what_is_written(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        model = validate(value)
        if isinstance(value, dict):
            model._written = value
        return model

    @property
    def written(self) -> Mapping[str, Any]:
        """What the configuration has."""
        return self._written

    def amended(self, **fields: Any) -> Self:
        """Return the model with other values for some fields, as if the configuration had them."""
        changed = self.model_copy(update=fields)
        changed._written = {**self._written, **changed.model_dump(mode="json", by_alias=True, include=set(fields))}
        return changed


class Problem(NamedTuple):
    """One thing that is wrong: the path of its key, such as `nodePools[0].gpu`, and what to do about it."""

    path: str
    message: str
