"""The bases of all configuration models."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, PrivateAttr, model_validator
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Strict and immutable: camelCase keys, no unknown key, no silent conversion of types."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True, defer_build=True)


class WrittenModel(Model):
    """A model that keeps its configuration as the user wrote it: with catalogue names and without defaults."""

    _written: Mapping[str, Any] = PrivateAttr(default={})

    @model_validator(mode="wrap")
    @classmethod
    def _keep_as_written(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        model = validate(value)
        if isinstance(value, dict):
            model._written = value
        return model

    @property
    def written(self) -> Mapping[str, Any]:
        """The configuration as the user wrote it."""
        return self._written

    def amended(self, **fields: Any) -> Self:
        """Return a copy with other values for some fields, as if the user had written them."""
        changed = self.model_copy(update=fields)
        changed._written = {**self._written, **changed.model_dump(mode="json", by_alias=True, include=set(fields))}
        return changed


class Problem(NamedTuple):
    """A problem in the configuration: the path of its key, such as `nodePools[0].gpu`, and what to do about it."""

    path: str
    message: str
