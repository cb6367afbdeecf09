"""A terminal in Python, for those who make terminals: grpcio and the files of `proto/`, and nothing of ours.

    python3 -m venv VENV && VENV/bin/pip install grpcio grpcio-tools grpcio-status cryptography
    mkdir STUBS && VENV/bin/python -m grpc_tools.protoc -I proto --python_out=STUBS --grpc_python_out=STUBS proto/custody/v1/*.proto
    custody token issue --data-dir DATA --role terminal --center C1 --terminal T9 > TOKEN
    PYTHONPATH=STUBS VENV/bin/python scripts/terminal_example.py --dir T9 --server 127.0.0.1:7443 --center C1 --terminal T9 \\
        --token TOKEN --detainee D1 RICE=2 SOAP=1

It shows the three rules that keep a sale from being lost or made twice:

1. The request, with an id of its own, is on the disk before anything is sent (`Queue.ask`), and is sent as it stands there.
2. What says nothing about the outcome is asked again under the same id, later and later (`send`).
3. Only a purchase, or a refusal with a reason of the service's own (`google.rpc.ErrorInfo` of the domain `custody.v1`), ends it.

Killed at any moment and started again, it finishes what is open first. `--forget-answer` plays a network that loses the first answer.
With `--code CODE` and `--terminal-server HOST:PORT` instead of `--token` it enrols: it makes an Ed25519 key, and the one-time code is
exchanged for a certificate, which is good on the port for terminals. There a detainee signs in before anything is bought:

    PYTHONPATH=STUBS VENV/bin/python scripts/terminal_example.py --dir T8 --server 127.0.0.1:7443 --terminal-server 127.0.0.1:7444 \
        --center C1 --terminal T8 --code CODE --card 0007 RICE=2        # asks for the PIN

Run like that on 2026-11-24 with Python 3, grpcio 1.85 and cryptography 50: with a token to the end, with the first answer lost, and with
the service and then this program killed in between; with a code up to the first call over TLS.
"""

import argparse
import getpass
import os
import pathlib
import random
import sqlite3
import sys
import time
import uuid

import grpc
from custody.v1 import commissary_pb2, commissary_pb2_grpc, session_pb2, session_pb2_grpc, terminal_pb2, terminal_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

ANSWER_S = 5
PAUSE_FIRST_S, PAUSE_LONGEST_S = 0.1, 10.0
DEFINITE = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
}


class Queue:
    """What is to be asked, on the disk: `synchronous = full` makes each commit wait for it."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("pragma synchronous = full")
        self.db.execute(
            "create table if not exists queue (request_id text primary key, body blob not null, outcome text)"
        )
        os.chmod(path, 0o600)

    def ask(self, request):
        self.db.execute("insert into queue values (?, ?, null)", (request.request_id, request.SerializeToString()))

    def open(self):
        rows = self.db.execute("select body from queue where outcome is null order by rowid").fetchall()
        return [commissary_pb2.CreatePurchaseRequest.FromString(body) for (body,) in rows]

    def end(self, request_id, outcome):
        self.db.execute("update queue set outcome = ? where request_id = ?", (outcome, request_id))


def reason_and_delay(error):
    """The service's reason, if the answer is its own, and how long it asks to wait."""
    status, reason, delay = rpc_status.from_call(error), None, 0.0
    for detail in status.details if status else []:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == "custody.v1":
            reason = (info.reason, dict(info.metadata))
        if detail.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, delay


def send(shop, request, metadata, forget_answer=False):
    """Asks until the outcome is known: a purchase, or a reason."""
    pause = PAUSE_FIRST_S
    while True:
        try:
            purchase, call = shop.CreatePurchase.with_call(request, timeout=ANSWER_S, metadata=metadata)
            if not forget_answer:
                repeated = ("custody-replay", "true") in [(key, value) for key, value in call.initial_metadata()]
                return purchase, repeated
            forget_answer = False
            print("  (the answer is lost)")
        except grpc.RpcError as error:
            reason, delay = reason_and_delay(error)
            if reason and error.code() in DEFINITE:
                return None, reason
            again = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            if not again and not (error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and delay):
                # Nothing is known, and nobody but a person can help: it stays in the queue.
                sys.exit(f"{error.code().name} {reason or error.details()}: {request.request_id} stays in the queue")
            pause = max(pause, delay)
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, PAUSE_LONGEST_S)


def enrol(args, home):
    """Exchanges a one-time code for a certificate. The key is on the disk first, so that a lost answer can be asked for again."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = home / "terminal.key"
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
    with grpc.insecure_channel(args.server) as channel:
        answer = terminal_pb2_grpc.TerminalServiceStub(channel).EnrolTerminal(
            terminal_pb2.EnrolTerminalRequest(
                name=f"centers/{args.center}/terminals/{args.terminal}",
                code=args.code,
                certificate_request=request.public_bytes(serialization.Encoding.PEM).decode(),
            ),
            timeout=ANSWER_S,
        )
    (home / "terminal.crt").write_text(answer.certificate)
    (home / "authority.crt").write_text(answer.authority_certificate)
    print("enrolled:", answer.terminal.name)


def connect(args, home):
    """A channel, and what each call carries."""
    if args.terminal_server:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=(home / "authority.crt").read_bytes(),
            private_key=(home / "terminal.key").read_bytes(),
            certificate_chain=(home / "terminal.crt").read_bytes(),
        )
        options = [("grpc.ssl_target_name_override", "custody")]
        return grpc.secure_channel(args.terminal_server, credentials, options), []
    token = pathlib.Path(args.token).read_text().strip()
    return grpc.insecure_channel(args.server), [("authorization", f"Bearer {token}")]


def sign_in(args, channel, metadata):
    """Signs a detainee in by card and PIN: who it is, and what calls carry from then on. The PIN is never an argument."""
    pin = getpass.getpass("PIN: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    try:
        session = session_pb2_grpc.SessionServiceStub(channel).SignIn(
            session_pb2.SignInRequest(card_number=args.card, pin=pin), timeout=ANSWER_S, metadata=metadata
        )
    except grpc.RpcError as error:
        sys.exit(f"not signed in: {reason_and_delay(error)[0] or error.details()}")
    if session.must_change_pin:
        sys.exit("the PIN is temporary; `custody terminal change-pin` shows how another is set")
    return session.detainee, [("authorization", f"Bearer {session.token}")]


def tell(request, purchase, other):
    if purchase is None:
        print(f"refused {request.request_id}: {other[0]} {other[1]}")
        return
    print(f"sold {purchase.name}{' (recorded before)' if other else ''}")
    for line in purchase.lines:
        product = line.product.rsplit("/", 1)[1]
        print(f"  {product:<12} {line.quantity} x {line.unit_price.amount:>8} {line.amount.amount:>10}")
    print(f"  {'total':<12} {purchase.total.amount:>21}   leaf hash {purchase.leaf_hash.hex()[:16]}…")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", required=True, help="where the queue and the keys are kept")
    parser.add_argument("--server", required=True)
    parser.add_argument("--terminal-server")
    parser.add_argument("--center", required=True)
    parser.add_argument("--terminal", required=True)
    parser.add_argument("--token")
    parser.add_argument("--code")
    parser.add_argument("--detainee", help="without a card: who buys")
    parser.add_argument("--card")
    parser.add_argument("--forget-answer", action="store_true")
    parser.add_argument("lines", nargs="*", metavar="PRODUCT=COUNT")
    args = parser.parse_args()
    home = pathlib.Path(args.dir)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if args.code:
        enrol(args, home)
    queue = Queue(home / "queue.sqlite")
    channel, metadata = connect(args, home)
    parent = f"centers/{args.center}"
    detainee = f"{parent}/detainees/{args.detainee}"
    if args.card:
        detainee, metadata = sign_in(args, channel, metadata)
    shop = commissary_pb2_grpc.CommissaryServiceStub(channel)
    for request in queue.open():
        print("finishing", request.request_id)
        purchase, other = send(shop, request, metadata)
        tell(request, purchase, other)
        queue.end(request.request_id, purchase.name if purchase else other[0])
    if not args.lines:
        return
    request = commissary_pb2.CreatePurchaseRequest(
        parent=parent,
        detainee=detainee,
        request_id=str(uuid.uuid4()),
    )
    for line in args.lines:
        product, _, count = line.partition("=")
        request.lines.add(product=f"{parent}/products/{product}", quantity=int(count or 1))
    queue.ask(request)
    purchase, other = send(shop, request, metadata, args.forget_answer)
    tell(request, purchase, other)
    queue.end(request.request_id, purchase.name if purchase else other[0])
    sys.exit(0 if purchase else 1)


main()
