"""Publishes payloads of these sizes to itself, each with QoS 0, 1 and 2, on paho-mqtt 1.6.1 or 2.x. Prints `same` for each that
comes as it was sent.

usage: payloads.py ADDRESS PORT CA [--version 3|5] [--websockets PATH] SIZE...
"""

import argparse
import queue
import random
import sys

import paho.mqtt.client as mqtt

PATIENCE = 60

parser = argparse.ArgumentParser()
parser.add_argument("address")
parser.add_argument("port", type=int)
parser.add_argument("ca")
parser.add_argument("--version", type=int, default=3)
parser.add_argument("--websockets", metavar="PATH")
parser.add_argument("sizes", nargs="+", type=int)
options = parser.parse_args()

protocol = mqtt.MQTTv5 if options.version == 5 else mqtt.MQTTv311
arguments = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
transport = "websockets" if options.websockets else "tcp"
client = mqtt.Client(*arguments, client_id="payloads", protocol=protocol, transport=transport)
if options.websockets:
    client.ws_set_options(path=options.websockets)
client.tls_set(ca_certs=options.ca)
# The certificate is for a name, and hosts of tests have addresses only.
client.tls_insecure_set(True)
subscribed, came = queue.Queue(), queue.Queue()
client.on_connect = lambda c, *more: c.subscribe("payloads", qos=2)
client.on_subscribe = lambda *more: subscribed.put(True)
client.on_message = lambda c, data, message: came.put((message.qos, message.payload))
client.connect(options.address, options.port)
client.loop_start()
subscribed.get(timeout=PATIENCE)
for size in options.sizes:
    for qos in range(3):
        payload = random.randbytes(size)
        client.publish("payloads", payload, qos=qos)
        if came.get(timeout=PATIENCE) != (qos, payload):
            sys.exit(f"{size} bytes with QoS {qos} came as others")
        print("same", flush=True)
client.disconnect()
client.loop_stop()
