"""A device as telemetry platforms ask for it, on paho-mqtt 1.6.1 or 2.x: prints what happens, a JSON object a line.

It publishes before it connects, and on CONNACK sends three SUBSCRIBE packets at once; a user name comes without a password.

usage: field.py PORT CA [--cert FILE --key FILE] [--version 31|311|5] [--id ID] [--username NAME] [--keepalive S]
                [--will TOPIC TEXT] [--silent-after S] [--seconds S]
"""

import argparse
import json
import time

import paho.mqtt.client as mqtt


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def code(reason):
    """A reason code or return code of either version of the library, as a number."""
    return getattr(reason, "value", reason)


def codes(reasons):
    return [code(reason) for reason in (reasons if isinstance(reasons, (list, tuple)) else [reasons])]


def connected(reason):
    say("connected", code=code(reason))
    for topic in ["attributes", "attributes/response/+", "rpc/request/+"]:
        client.subscribe("v1/devices/me/" + topic, qos=1)
    client.publish("v1/devices/me/attributes", json.dumps({"temperature": 42}), qos=1)


parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("ca")
parser.add_argument("--cert")
parser.add_argument("--key")
parser.add_argument("--version", default="311", choices=["31", "311", "5"])
parser.add_argument("--id", default="")
parser.add_argument("--username")
parser.add_argument("--keepalive", type=int, default=60)
parser.add_argument("--will", nargs=2)
parser.add_argument("--silent-after", type=float)
parser.add_argument("--seconds", type=float, default=10)
options = parser.parse_args()

protocol = {"31": mqtt.MQTTv31, "311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[options.version]
if hasattr(mqtt, "CallbackAPIVersion"):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=options.id, protocol=protocol)
    client.on_connect = lambda c, data, flags, reason, properties: connected(reason)
    client.on_publish = lambda c, data, mid, reason, properties: say("published")
else:
    client = mqtt.Client(client_id=options.id, protocol=protocol)
    client.on_connect = lambda c, data, flags, reason, *more: connected(reason)
    client.on_publish = lambda c, data, mid: say("published")
client.on_subscribe = lambda c, data, mid, reasons, *more: say("subscribed", codes=codes(reasons))
client.on_disconnect = lambda *more: say("disconnected")
client.on_message = lambda c, data, message: say("message", topic=message.topic, text=message.payload.decode())
client.tls_set(ca_certs=options.ca, certfile=options.cert, keyfile=options.key)
if options.username:
    client.username_pw_set(options.username)
if options.will:
    client.will_set(options.will[0], options.will[1], qos=1)

client.publish("v1/devices/me/attributes/request/1", json.dumps({"clientKeys": "model"}), qos=1)
client.connect("localhost", options.port, keepalive=options.keepalive)
client.loop_start()
if options.silent_after is not None:
    time.sleep(options.silent_after)
    client.loop_stop()
    say("silent")
    time.sleep(options.seconds)
else:
    time.sleep(options.seconds)
    client.disconnect()
    client.loop_stop()
