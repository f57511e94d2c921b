from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from parsegate.client import read_requests


def comms_messages() -> dict[str, Any]:
    """What Airflow's manager takes from a parse child and answers through its client."""
    from airflow.dag_processing.processor import ToManager

    union, _ = get_args(ToManager)
    models = {model.__name__: model for model in get_args(union)}
    return {name: models[name] for name in models if name not in ("DagFileParsingResult", "MaskSecret")}


def test_every_request_of_airflows_children_is_known_and_no_other():
    ours = {request.__name__ for request in get_args(read_requests.ReadRequest)}
    assert ours == set(comms_messages())


@pytest.mark.parametrize("request_type", get_args(read_requests.ReadRequest), ids=lambda request: request.__name__)
def test_a_request_has_the_fields_of_airflows_message(request_type: type[read_requests.Request]):
    theirs = comms_messages()[request_type.__name__].model_fields
    ours = {field.name: field for field in msgspec.structs.fields(request_type)}
    assert set(ours) == set(theirs) - {"type"}
    for name, field in ours.items():
        assert field.required == theirs[name].is_required(), name
        if not field.required:
            assert field.default == theirs[name].default, name


def test_a_message_as_airflow_dumps_it_is_read():
    from datetime import UTC, datetime

    from airflow.sdk.execution_time.comms import GetPreviousDagRun

    message = GetPreviousDagRun(dag_id="d", logical_date=datetime(2026, 1, 2, tzinfo=UTC))
    request = read_requests.read_request(message.model_dump(mode="json"))
    assert request == read_requests.GetPreviousDagRun(dag_id="d", logical_date=datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    "document", [{}, {"type": "DeleteXCom"}, {"type": "GetVariable"}, {"type": "GetVariable", "key": 1}]
)
def test_anything_else_is_none(document: dict[str, Any]):
    with pytest.raises(msgspec.ValidationError):
        read_requests.read_request(document)
