"""The way a widespread tutorial's client behaves, on paho-mqtt 1.6.1 or 2.x.

It calls connect() before tls_set(), so its first CONNECT reaches the TLS port in plaintext; it then connects over TLS, publishes
a JSON array with QoS 0 again and again, and after a cut retries for ever. Prints what happens, a JSON object a line.

usage: tutorial.py PORT CA CERT KEY SECONDS
"""

import json
import sys
import time

import paho.mqtt.client as mqtt


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


port, ca, cert, key, seconds = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5])

arguments = [mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []
client = mqtt.Client(*arguments, client_id="kt1dc5")
client.on_connect = lambda c, data, flags, code: say("connected", code=code)
client.on_disconnect = lambda c, data, code: say("disconnected", code=code)

try:
    client.connect("localhost", port, 60)
    say("plaintext sent")
    # The broker's answer is a closed socket; the library notices at its next turn.
    for _ in range(20):
        if client.loop(timeout=0.1) != mqtt.MQTT_ERR_SUCCESS:
            say("plaintext closed")
            break
except OSError as error:
    say("plaintext refused", text=str(error))

client.tls_set(ca_certs=ca, certfile=cert, keyfile=key)
end = time.time() + seconds
connect = lambda: client.connect("localhost", port, 60)
last = 0.0
while time.time() < end:
    try:
        if connect:
            connect()
            connect = None
        if client.loop(timeout=0.1) != mqtt.MQTT_ERR_SUCCESS:
            say("lost")
            connect = client.reconnect
            time.sleep(0.3)
        elif time.time() - last > 0.3:
            last = time.time()
            client.publish("kp1/app-v1/dcx/token/json", json.dumps([{"temperature": 21}]))
    except OSError as error:
        say("refused", text=str(error))
        time.sleep(0.3)
