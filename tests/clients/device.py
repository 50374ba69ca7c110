"""A device as devices in the field are written, on paho-mqtt 1.6.1 or 2.x: prints what happens, a JSON object a line.

usage: device.py PORT CA [--cert FILE --key FILE] [--version 3|5] [--publish TOPIC TEXT] [--subscribe FILTER] [--qos 0|1|2]
                 [--seconds N] [--websockets PATH] [--plain]
"""

import argparse
import json
import sys
import time

import paho.mqtt.client as mqtt


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def code(reason):
    """A reason code or return code of either version of the library, as a number."""
    return getattr(reason, "value", reason)


def build(client_id, version, websockets):
    protocol = mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311
    transport = "websockets" if websockets else "tcp"
    if hasattr(mqtt, "CallbackAPIVersion"):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, transport=transport)
        client.on_disconnect = lambda c, data, flags, reason, properties: say("disconnected", code=code(reason))
        client.on_connect = lambda c, data, flags, reason, properties: connected(c, reason)
        client.on_subscribe = lambda c, data, mid, reasons, properties: say("subscribed", codes=[code(r) for r in reasons])
        client.on_publish = lambda c, data, mid, reason, properties: say("published")
    else:
        client = mqtt.Client(client_id=client_id, protocol=protocol, transport=transport)
        client.on_disconnect = lambda c, data, reason, *more: say("disconnected", code=code(reason))
        client.on_connect = lambda c, data, flags, reason, *more: connected(c, reason)
        client.on_subscribe = lambda c, data, mid, reasons, *more: say(
            "subscribed", codes=[code(r) for r in (reasons if isinstance(reasons, (list, tuple)) else [reasons])]
        )
        client.on_publish = lambda c, data, mid: say("published")
    client.on_message = lambda c, data, message: say("message", topic=message.topic, text=message.payload.decode())
    return client


def connected(client, reason):
    say("connected", code=code(reason))
    if code(reason) == 0 and options.subscribe:
        client.subscribe(options.subscribe, qos=options.qos)
    if code(reason) == 0 and options.publish:
        client.publish(options.publish[0], options.publish[1], qos=options.qos)


parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("ca")
parser.add_argument("--cert")
parser.add_argument("--key")
parser.add_argument("--id", default="device")
parser.add_argument("--version", type=int, default=3)
parser.add_argument("--publish", nargs=2)
parser.add_argument("--qos", type=int, default=1)
parser.add_argument("--subscribe")
parser.add_argument("--seconds", type=float, default=10)
parser.add_argument("--websockets", metavar="PATH")
parser.add_argument("--plain", action="store_true")
options = parser.parse_args()

device = build(options.id, options.version, options.websockets)
if options.websockets:
    device.ws_set_options(path=options.websockets)
if not options.plain:
    device.tls_set(ca_certs=options.ca, certfile=options.cert, keyfile=options.key)
try:
    device.connect("localhost", options.port, keepalive=60)
    device.loop_start()
    time.sleep(options.seconds)
    device.disconnect()
    device.loop_stop()
except OSError as error:
    say("error", text=str(error))
    sys.exit(1)
