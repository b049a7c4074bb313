"""A run of the demo, exported over OTLP/HTTP to a collector stand-in on this machine."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

PROGRAM = """
import sys
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from techrevati.runtime.cli import main

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=sys.argv[1])))
trace.set_tracer_provider(provider)
with provider.get_tracer("test").start_as_current_span("program"):
    status = main(["demo", "--otel"])
provider.shutdown()
sys.exit(status)
"""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Where to export to, and the spans that arrived."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            request = trace_service.ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            answer = trace_service.ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_tree_of_a_demo_run(collector: tuple[str, list[Any]], tmp_path: Path) -> None:
    """One trace: the program, its agents, their turns and tools, every attempt under its turn."""
    address, spans = collector
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, address], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert len({span.trace_id for span in spans}) == 1
    by_id = {span.span_id: span for span in spans}

    def kind(span: Any) -> str:
        return str(span.name.split()[0])

    edges = Counter(
        (kind(by_id[span.parent_span_id]) if span.parent_span_id in by_id else "", kind(span))
        for span in spans
    )
    assert edges["", "program"] == 1
    assert edges["program", "invoke_agent"] >= 1
    assert edges["invoke_agent", "turn"] >= 3
    assert edges["turn", "chat"] >= edges["invoke_agent", "turn"]
    assert sum(count for (_, child), count in edges.items() if child == "execute_tool") >= 1
    assert set(edges) <= {
        ("", "program"),
        ("program", "invoke_agent"),
        ("invoke_agent", "invoke_agent"),
        ("execute_tool", "invoke_agent"),
        ("invoke_agent", "turn"),
        ("invoke_agent", "execute_tool"),
        ("turn", "chat"),
    }
    for span in spans:
        parent = by_id.get(span.parent_span_id)
        if parent is not None:
            assert parent.start_time_unix_nano <= span.start_time_unix_nano
    facts = [{each.key: each.value for each in span.attributes} for span in spans]
    used = sum(
        each["gen_ai.usage.input_tokens"].int_value for each in facts if "gen_ai.usage.input_tokens" in each
    )
    assert used > 0
    assert any("error.type" in each for each in facts)  # the demo's endpoint fails on a script
