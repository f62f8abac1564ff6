"""moto's CloudWatch behind the protocol that current AWS SDKs speak.

moto answers the older protocols only. This WSGI layer translates Smithy RPC v2 CBOR (gzipped or not) to the AWS JSON
protocol, with botocore's own service model, parser and serializer, so that no side of the translation was written by
the project whose program is tested. Whatever else comes goes to moto as it is.

Usage: moto_front.py PORT; prints "ready" once it listens.
"""

import gzip
import io
import json
import sys

import botocore.parsers
import botocore.serialize
import botocore.session
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

SERVICE = botocore.session.get_session().get_service_model("cloudwatch")
PREFIX = "/service/" + SERVICE.metadata["targetPrefix"] + "/operation/"


class Front:
    """Translates what comes as CBOR; hands everything else to moto as it is."""

    def __init__(self, moto):
        self.moto = moto

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if not path.startswith(PREFIX):
            return self.moto(environ, start_response)
        operation = SERVICE.operation_model(path[len(PREFIX):])
        # Only what the program under test calls: it writes, and nothing is answered to a write that went well.
        assert operation.output_shape is None, operation.name
        status, answer = self.call(operation, environ, read_cbor(environ, operation.input_shape))
        body = b"\xa0" if status == 200 else write_error(json.loads(answer))
        headers = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
        headers.append(("Content-Length", str(len(body))))
        start_response("200 OK" if status == 200 else f"{status} Refused", headers)
        return [body]

    def call(self, operation, environ, parameters):
        request = botocore.serialize.create_serializer("json", False).serialize_to_request(parameters, operation)
        body = request["body"]
        kept = {name: value for name, value in environ.items() if name != "HTTP_CONTENT_ENCODING"}
        kept.update({
            "PATH_INFO": "/",
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": request["headers"]["Content-Type"],
            "HTTP_X_AMZ_TARGET": request["headers"]["X-Amz-Target"],
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        })
        chunks, status, _ = run_wsgi_app(self.moto, kept)
        return int(status.split()[0]), b"".join(chunks)


def read_cbor(environ, shape):
    raw = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    if environ.get("HTTP_CONTENT_ENCODING") == "gzip":
        raw = gzip.decompress(raw)
    parsed = botocore.parsers.create_parser("smithy-rpc-v2-cbor").parse(
        {"status_code": 200, "headers": {}, "body": raw}, shape
    )
    parsed.pop("ResponseMetadata", None)
    return parsed


def write_error(answer):
    out = bytearray([0xA2])
    for name, value in (("__type", answer.get("__type", "InternalFailure")), ("message", str(answer.get("message")))):
        for text in (name.encode(), value.encode()):
            # Major type 3, text, with a length of two bytes.
            out += b"\x79" + len(text).to_bytes(2, "big") + text
    return bytes(out)


def main():
    front = Front(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", int(sys.argv[1]), front, threaded=True)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
