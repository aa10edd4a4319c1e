"""Expressions have the result that they have in the API server and kube-scheduler.

https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/cel/compile_test.go
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from topology.kubernetes.cel import CelDevice, CelError, UncheckedError, compile_selector

GPU = CelDevice(
    "gpu.nvidia.com",
    {
        "type": {"string": "gpu"},
        "productName": {"string": "NVIDIA A100-SXM4-80GB"},
        "driverVersion": {"version": "580.126.9"},
        "index": {"int": 3},
        "healthy": {"bool": True},
        "gpu.nvidia.com/architecture": {"string": "Ampere"},
        "resource.kubernetes.io/pcieRoot": {"string": "pci0000:01"},
    },
    {"memory": {"value": "80Gi"}, "gpu.nvidia.com/decoders": {"value": 5}},
)
G = "device.attributes['gpu.nvidia.com']"
C = "device.capacity['gpu.nvidia.com']"


def matches(expression: str, device: CelDevice = GPU, *, list_attributes: bool = False) -> bool:
    return compile_selector(expression, list_attributes=list_attributes).matches(device)


@pytest.mark.parametrize(
    "expression",
    [
        "true",
        "device.driver == 'gpu.nvidia.com'",
        f"device.driver == 'gpu.nvidia.com' && {G}.type == 'gpu'",
        f"{G}.productName in ['NVIDIA A100-SXM4-80GB', 'NVIDIA H100 80GB HBM3']",
        f"{G}.productName.lowerAscii().matches('^.*a100.*$')",
        f"{G}.productName.startsWith('NVIDIA') && {G}.productName.contains('SXM4')",
        f"{G}.productName.split(' ').size() == 2",
        f"{C}.memory.compareTo(quantity('40Gi')) >= 0",
        f"{C}.memory.isGreaterThan(quantity('79Gi')) && {C}['memory'] == quantity('81920Mi')",
        f"{C}.memory.asInteger() >= 40 * 1024 * 1024 * 1024",
        f"{C}.memory.asApproximateFloat() > 1",
        f"{C}.decoders == quantity('5000m')",
        f"{G}.driverVersion.compareTo(semver('580.0.0')) >= 0",
        f"{G}.driverVersion.major() == 580 && {G}.driverVersion.minor() == 126 && {G}.driverVersion.patch() == 9",
        f"{G}.?profile.orValue('') != '1g.10gb'",
        f"{G}[?'profile'].orValue('none') == 'none'",
        f"{G}.?type.optMap(type, type == 'gpu').orValue(false)",
        f"cel.bind(gpu, {G}, gpu.type == 'gpu' && gpu.architecture == 'Ampere')",
        f"['a', 'gpu'].exists(kind, kind == {G}.type)",
        f"'type' in {G} && !('profile' in {G})",
        f"{G}.healthy",
        f"{G}['healthy'] && {G}.index > 2 && {G}.index < 3.5 && {G}.index % 2 == 1",
        "device.attributes['resource.kubernetes.io'].pcieRoot == 'pci0000:01'",
        "device.attributes[device.driver].type == 'gpu'",
        "device.attributes.exists_one(domain, domain == 'gpu.nvidia.com')",
        "device.attributes.all(domain, values, values.size() > 0)",
        f"{G}.exists_one(name, name == 'type')",
        f"{C}.all(name, {C}[name].isGreaterThan(quantity('1')))",
        "has(device.driver) && has(device.attributes) && has(device.capacity) && has(device.allowMultipleAllocations)",
        "!device.allowMultipleAllocations",
        f"{G}.type != semver('1.0.0') && {G}.index == 3.0",
        f"{G}.type == 'gpu' || {G}.nope",  # one true operand is enough
        f"{G}.type == 'gpu' // a comment",
    ],
)
def test_is_true_of_the_gpu(expression: str) -> None:
    assert matches(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "'no.such.domain' in device.attributes",
        "'resource.kubernetes.io' in device.capacity",
        "has(device.attributes['no.such.domain'].x)",
        "has(device.capacity['no.such.domain'].x)",
        "device.attributes['no.such.domain'].?x.orValue(false)",
        "cel.bind(nothing, device.attributes['no.such.domain'], has(nothing.x) && nothing.x == 1)",
        "'no.such.domain' in device.attributes && device.attributes['no.such.domain'].x",
        "'no.such.domain' in device.attributes || has(device.attributes['no.such.domain'].x)",
        "device.attributes['no.such.domain'] != {}",
        f"has({G}.profile)",
        f"{G}.type == 'mig' && {G}.nope == 1",
        f"{G}.index == '3'",
    ],
)
def test_is_false_of_the_gpu(expression: str) -> None:
    assert not matches(expression)


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        (f"{G}.productNam == 'x'", "gpu.nvidia.com/productNam"),
        (f"{G}['productNam'] == 'x'", "gpu.nvidia.com/productNam"),
        (f"cel.bind(gpu, {G}, gpu.productNam == 'x')", "gpu.nvidia.com/productNam"),
        ("device.attributes[device.driver].productNam == 'x'", "gpu.nvidia.com/productNam"),
        ("device.attributes['resource.kubernetes.io'].type == 'x'", "resource.kubernetes.io/type"),
        ("device.attributes['no.such.domain'].type == 'x'", "no.such.domain/type"),
        (f"{C}.memoryy.isGreaterThan(quantity('1'))", "gpu.nvidia.com/memoryy"),
        ("device.capacity['no.such.domain'].memory.isGreaterThan(quantity('1'))", "no.such.domain/memory"),
        (f"{G}.memory == 'x'", "gpu.nvidia.com/memory"),
    ],
)
def test_what_the_device_lacks_is_named(expression: str, missing: str) -> None:
    with pytest.raises(CelError, match=f"^the device has no (attribute|capacity) {missing}$") as caught:
        matches(expression)
    assert caught.value.missing == missing


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (f"{G}.index", "must evaluate to true or false, but evaluates to 3"),
        (f"{G}.index && true", "No matching overloads found"),
        (f"{G}.type.isGreaterThan(quantity('1'))", "No matching overloads found"),
        (f"{G}.driverVersion.isGreaterThan(quantity('1'))", "cannot compare a Semver to a Quantity"),
        ("quantity('200K') == quantity('1')", "'200K' is not a quantity"),
        ("quantity('1.5').asInteger() == 1", "cannot convert value to integer"),
        ("semver('1.0').major() == 1", "1.0 is not valid SemVer string"),
        ("device.driver.find('(?=' + device.driver) == 'a'", r"^Illegal regex: invalid perl operator: \(\?=$"),
        ("1 / 0 == 1", "divide by zero"),
        ("{'a': 1}['b'] == 1", "no such key: b"),
    ],
)
def test_other_failures_of_the_evaluation_name_nothing_missing(expression: str, message: str) -> None:
    with pytest.raises(CelError, match=message) as caught:
        matches(expression)
    assert caught.value.missing is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("?!", r"^Syntax error: extraneous input '\?' \(line 1, column 1\)$"),
        ("device.driver ==", "Syntax error"),
        ("device.nope == 1", r"^undeclared reference to 'device.nope' \(line 1, column 7\)$"),
        ("has(device.nope)", "undeclared reference to 'device.nope'"),
        ("devic.driver == 'x'", "undeclared reference to 'devic.driver'"),
        ("device['driver'] == 'x'", "undeclared reference to 'device'"),
        (f"{G}.type.lower() == 'gpu'", "undeclared reference to 'lower'"),
        (f"has(device.driver) &&\n{G}.type.lower() == 'gpu'", r"\(line 2, column 47\)$"),
        ("device.driver", "^must evaluate to bool, but evaluates to string$"),
        ("1", "evaluates to int$"),
        (G, "evaluates to map<string, any>$"),
        ("device.driver < 3", r"no matching overload for '_<_' applied to '\(string, int\)'"),
        (f"{C}.memory >= quantity('40Gi')", "no matching overload for '_>=_'"),
        (f"{C}.memory >= '40Gi'", "no matching overload for '_>=_'"),
        (f"{C}.memory.compareTo('40Gi') >= 0", "no matching overload for 'compareTo'"),
        (f"{C}.memory.compareTo(semver('1.0.0')) >= 0", "no matching overload for 'compareTo'"),
        (f"{C}.memory.value == '80Gi'", "undefined field 'value'"),
        ("semver('1.0.0') < semver('2.0.0')", "no matching overload for '_<_'"),
        (f"{G}.type.exists(x, x == 'gpu')", "cannot be the range of a comprehension"),
        (f"{G}.type.includes('gpu')", "undeclared reference to 'includes'"),
        ("'ab'.find('a(?=b)') == 'a'", r"^find\('a\(\?=b\)'\) fails: Illegal regex: invalid perl operator: \(\?=$"),
        ("'b'.findAll('(?<!a)b', 1) == ['b']", r"fails: Illegal regex: invalid perl operator: \(\?<!$"),
        (r"'aa'.find('(a)\\1') == 'aa'", r"fails: Illegal regex: invalid escape sequence: \\1$"),
        (r"'aa'.matches(r'(a)\1')", r"fails: invalid regular expression: invalid escape sequence: \\1$"),
    ],
)
def test_does_not_compile(expression: str, message: str) -> None:
    with pytest.raises(CelError, match=message) as caught:
        compile_selector(expression)
    assert not isinstance(caught.value, UncheckedError)


@pytest.mark.parametrize(
    "expression",
    [
        "ip('192.0.2.1').family() == 4",
        "isIP(device.driver)",
        "url('https://example.com').getHost() == 'example.com'",
        "format.dns1123Label().validate(device.driver).hasValue()",
        "{'a': 1}.transformMap(key, value, value + 1) == {'a': 2}",
        "device.?driver.orValue('') == 'gpu.nvidia.com'",
    ],
)
def test_what_only_kubernetes_has_is_not_wrong(expression: str) -> None:
    with pytest.raises(UncheckedError, match="only Kubernetes can check this"):
        compile_selector(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "quantity('1Ki') == quantity('1024') && quantity('0.5Ki') == quantity('512')",
        "quantity('1e3') == quantity('1k') && quantity('1E').isGreaterThan(quantity('1P'))",
        "quantity('1').add(quantity('500m')) == quantity('1.5') && quantity('50k').sub(20000) == quantity('30k')",
        "quantity('0.1').add(quantity('0.2')) == quantity('300m') && quantity('-0') == quantity('0')",
        "sign(quantity('-1Ki')) == -1 && quantity('-1').isLessThan(quantity('0'))",
        "quantity('50k').isInteger() && !quantity('1.5').isInteger() && !quantity('10E').isInteger()",
        "isQuantity('1.3Gi') && isQuantity('.5') && !isQuantity('200K') && !isQuantity('1,3G') && !isQuantity('')",
        "semver('1.0.0-alpha').isLessThan(semver('1.0.0')) && semver('1.0.0-2').isLessThan(semver('1.0.0-10'))",
        "semver('1.0.0-10').isLessThan(semver('1.0.0-a')) && semver('1.0.0+a') == semver('1.0.0+b')",
        "semver('v1.0', true) == semver('1.0.0') && semver('01.01.00-rc', true) == semver('1.1.0-rc')",
        "isSemver('1.0.0') && !isSemver('v1.0.0') && isSemver('v1', true) && !isSemver('1.0-rc', true)",
        "[1, 2].isSorted() && [1, 2].sum() == 3 && [].sum() == 0 && [1, 2].min() == 1 && ['a', 'b'].max() == 'b'",
        "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && ['a'].indexOf('b') == -1",
        "'abc'.indexOf('c') == 2 && 'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b'",
        "'abc'.find('[ab]+') == 'ab' && 'abc'.find('x') == '' && 'abc'.findAll('[ab]', 1) == ['a']",
        "'baac'.findAll('a*') == ['', 'aa', ''] && 'xäöü'.find('ä.') == 'äö'",
        "[3, 1].sort() == [1, 3] && [1, 2, 3].slice(0, 1) == [1] && lists.range(2) == [0, 1]",
        "sets.contains(['a', 'b'], ['a']) && sets.intersects([1], [1])",
        "1 < 1.5 && 1u <= 2 && 'a' < 'b' && duration('1m') < duration('1h') && false < true",
        "optional.of(1).hasValue() && '%d'.format([1]) == '1'",
    ],
)
def test_libraries_of_kubernetes(expression: str) -> None:
    assert matches(expression)


@pytest.mark.parametrize("function", ["find", "findAll", "matches"])
def test_no_regular_expression_takes_exponential_time(function: str) -> None:
    """A backtracking engine needs minutes for this one."""
    assert matches(f"'{'a' * 34}b'.{function}('(a+)+$') in [false, '', []]")


LISTS: Mapping[str, Mapping[str, Any]] = {
    "names": {"strings": ["fish", "bird"]},
    "nodes": {"ints": [1, 2]},
    "flags": {"bools": [True]},
    "versions": {"versions": ["1.0.0", "2.0.0"]},
    "name": {"string": "fish"},
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f"{G}.names.includes('fish') && {G}.name.includes('fish') && !{G}.names.includes('cat')", True),
        (f"{G}.nodes.includes(2.0) && !{G}.flags.includes(1)", True),
        (f"{G}.versions.includes(semver('2.0.0')) && !{G}.versions.includes(semver('3.0.0'))", True),
        (f"{G}.versions.all(version, version.isGreaterThan(semver('0.0.1')))", True),
        (f"{G}.nodes.exists(node, node > 2)", False),
    ],
)
def test_list_attributes(expression: str, expected: bool) -> None:
    assert matches(expression, CelDevice("gpu.nvidia.com", LISTS, {}), list_attributes=True) is expected


def test_list_attributes_are_understood_without_their_feature_gate() -> None:
    device = CelDevice("gpu.nvidia.com", LISTS, {})
    assert matches(f"1 in {G}.nodes && {G}.names.size() == 2", device)
    with pytest.raises(CelError, match="must evaluate to true or false"):
        matches(f"{G}.names", device)


def test_a_shareable_device() -> None:
    assert matches("device.allowMultipleAllocations", GPU._replace(allow_multiple_allocations=True))


def test_a_selector_is_compiled_once_and_shared_by_threads() -> None:
    selector = compile_selector(f"{G}.index == 3 && !has(device.attributes['no.such.domain'].x)")
    assert compile_selector(f"{G}.index == 3 && !has(device.attributes['no.such.domain'].x)") is selector
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(selector.matches, [GPU] * 200))
