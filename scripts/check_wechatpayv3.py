"""Drives `custody gateway-simulator` with wechatpayv3, a client library for WeChat Pay that is not ours (PyPI, 2.0.4).

    custody gateway-simulator --wechat-keys KEYS --secret S --dev --dev-clock "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    python3 -m venv VENV && VENV/bin/pip install wechatpayv3==2.0.4
    VENV/bin/python scripts/check_wechatpayv3.py KEYS http://127.0.0.1:7500

It goes through everything twice: with the platform's certificates, fetched from the simulator, and with its public key. The
simulator's clock is its own so that a payment can be made the day before, whose bill there is.
"""

import datetime
import gzip
import hashlib
import http.server
import json
import pathlib
import queue
import sys
import threading
import urllib.request
import uuid

from cryptography import x509
from wechatpayv3 import WeChatPay, WeChatPayType

MCHID, APPID = "1900000001", "wx0000000000000001"
keys, base_url = pathlib.Path(sys.argv[1]), sys.argv[2]
notifications = queue.Queue()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        notifications.put((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def control(path, body):
    url = f"{base_url}/control/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def client(notify_url, **public_key):
    certificate = x509.load_pem_x509_certificate((keys / "apiclient_cert.pem").read_bytes())
    # The library has no setting for the address; its constructor calls it already when it fetches certificates.
    import wechatpayv3.core as core

    request = core.Core.request
    core.Core.request = lambda self, *args, **kw: (setattr(self, "_gate_way", base_url), request(self, *args, **kw))[1]
    return WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=MCHID,
        private_key=(keys / "apiclient_key.pem").read_text(),
        cert_serial_no=f"{certificate.serial_number:X}",
        apiv3_key=(keys / "api_v3_key.txt").read_text(),
        appid=APPID,
        notify_url=notify_url,
        **public_key,
    )


def expect(code, answer):
    assert answer[0] == code, answer
    return json.loads(answer[1]) if answer[1] else None


def notified(pay, event_type):
    headers, body = notifications.get(timeout=20)
    event = pay.callback(headers, body)
    assert event and event["event_type"] == event_type, event
    nonce = next(name for name in headers if name.lower() == "wechatpay-nonce")
    headers[nonce] = "another"
    assert pay.callback(headers, body) is None, "a forged one is believed"
    return event["resource"]


def run(pay):
    now = datetime.datetime.now(datetime.timezone.utc)
    beijing = datetime.timezone(datetime.timedelta(hours=8))
    yesterday = (now - datetime.timedelta(days=1)).astimezone(beijing)
    order, unpaid = (f"SDK-{uuid.uuid4().hex[:20]}" for _ in range(2))
    for number in (order, unpaid):
        told = expect(200, pay.pay(description="汇款", out_trade_no=number, amount={"total": 10_000, "currency": "CNY"}))
        assert told["code_url"].startswith("weixin://"), told
    assert expect(200, pay.query(out_trade_no=order))["trade_state"] == "NOTPAY"

    expect(204, pay.close(unpaid))
    assert expect(200, pay.query(out_trade_no=unpaid))["trade_state"] == "CLOSED"
    assert expect(404, pay.query(out_trade_no="SDK-unknown"))["code"] == "ORDER_NOT_EXIST"

    control("clock", {"time": yesterday.isoformat()})
    control(f"orders/{order}/pay", {"lose": True})
    control("clock", {"time": datetime.datetime.now(datetime.timezone.utc).isoformat()})
    control(f"orders/{order}/notify", {})
    paid = notified(pay, "TRANSACTION.SUCCESS")
    assert (paid["out_trade_no"], paid["amount"]["total"]) == (order, 10_000), paid
    told = expect(200, pay.query(transaction_id=paid["transaction_id"]))
    assert told["trade_state"] == "SUCCESS" and told["out_trade_no"] == order, told

    refund, amount = f"F{uuid.uuid4().hex[:20]}", {"refund": 4_000, "total": 10_000, "currency": "CNY"}
    told = expect(200, pay.refund(out_refund_no=refund, amount=amount, transaction_id=paid["transaction_id"]))
    assert told["status"] == "PROCESSING", told
    control(f"refunds/{refund}/answer", {})
    back = notified(pay, "REFUND.SUCCESS")
    assert (back["out_refund_no"], back["amount"]["refund"]) == (refund, 4_000), back
    assert expect(200, pay.query_refund(refund))["status"] == "SUCCESS"
    assert expect(200, pay.query(out_trade_no=order))["trade_state"] == "REFUND"

    for offered in (pay.trade_bill(f"{yesterday:%Y-%m-%d}"), pay.fundflow_bill(f"{yesterday:%Y-%m-%d}")):
        offered = expect(200, offered)
        code, packed = pay.download_bill(offered["download_url"])
        bill = gzip.decompress(packed)
        assert code == 200 and hashlib.sha1(bill).hexdigest() == offered["hash_value"], offered
        assert paid["transaction_id"] in bill.decode("utf-8-sig"), bill


receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
notify_url = f"http://127.0.0.1:{receiver.server_port}/"
run(client(notify_url))
print("with certificates: as the library expects")
public_key = {name: (keys / file).read_text() for name, file in (("public_key", "pub_key.pem"), ("public_key_id", "pub_key_id.txt"))}
run(client(notify_url, **public_key))
print("with the public key: as the library expects")
