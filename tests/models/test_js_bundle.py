"""Literals come out of bundled scripts without running them."""

from __future__ import annotations

import base64

import pytest
from js_bundle import exported_bytes, exported_object

WRAPPED = "!function(e){{module.exports=e()}}(function(e,n){{n.exports={}}},{{}});"


def test_an_object_with_what_javascript_abbreviates() -> None:
    literal = (
        '{name:"a:b{",shape:[3,-.5,1e3,.25e-2,1.,2196e-5],yes:!0,no:!1,nothing:null,'
        'deep:{list:[[],{}],$_1:"\\"quoted\\""}}'
    )
    assert exported_object(WRAPPED.format(literal)) == {
        "name": "a:b{",
        "shape": [3, -0.5, 1000.0, 0.0025, 1, 0.02196],
        "yes": True,
        "no": False,
        "nothing": None,
        "deep": {"list": [[], {}], "$_1": '"quoted"'},
    }


def test_bytes() -> None:
    data = bytes(range(256))
    text = base64.b64encode(data).decode()
    assert exported_bytes(WRAPPED.format(f'"{text}"')) == data


@pytest.mark.parametrize(
    ("literal", "message"),
    [
        ("{a:f(1)}", r"not a literal of plain values: 'f\(1\)"),
        ("{a:1", "not a literal of plain values: ''"),
        ("[1,2]", "other than an object"),
        ("{a:1,,}", "Expecting property name"),
    ],
)
def test_what_is_no_plain_object_is_refused(literal: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exported_object("x.exports=" + literal)


def test_scripts_without_what_is_wanted_are_refused() -> None:
    with pytest.raises(ValueError, match="exports nothing"):
        exported_object("alert(1)")
    with pytest.raises(ValueError, match="other than a base64 text"):
        exported_bytes("x.exports={}")
    with pytest.raises(ValueError, match="padding"):
        exported_bytes('x.exports="AAA"')
