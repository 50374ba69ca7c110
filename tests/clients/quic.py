"""A device over QUIC: MQTT by paho-mqtt 2.x, QUIC by aioquic, between them a relay on loopback. Prints what happens, a JSON object
a line.

usage: quic.py ADDRESS PORT CA CERT KEY

It connects three times, with the ticket of the time before where it has one: until it hears itself, and twice until the broker
closes.
"""

import argparse
import asyncio
import json

import paho.mqtt.client as mqtt
from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration

PATIENCE = 60
TOPIC = "quic/hello"


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def build(heard):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="quic", protocol=mqtt.MQTTv5)

    def connected(c, data, flags, reason, properties):
        say("connected", code=reason.value)
        c.subscribe(TOPIC, qos=2)

    def message(c, data, came):
        say("message", text=came.payload.decode())
        heard()

    client.on_connect = connected
    client.on_subscribe = lambda c, *more: c.publish(TOPIC, "hello", qos=2)
    client.on_message = message
    client.on_disconnect = lambda c, data, flags, reason, properties: say("disconnected", code=reason.value)
    return client


async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def talk(options, configuration, keep_ticket, is_brief):
    heard, relayed = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    async with connect(
        options.address, options.port, configuration=configuration, session_ticket_handler=keep_ticket
    ) as quic:
        say("handshake", resumed=quic._quic.tls.session_resumed)
        from_broker, to_broker = await quic.create_stream()

        async def relay(reader, writer):
            await asyncio.gather(copy(reader, to_broker), copy(from_broker, writer))
            writer.close()
            relayed.set()

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        client = build(lambda: loop.call_soon_threadsafe(heard.set))
        client.connect_async("127.0.0.1", server.sockets[0].getsockname()[1])
        client.loop_start()
        await asyncio.wait_for(heard.wait() if is_brief else quic.wait_closed(), PATIENCE)
        say("over" if is_brief else "closed")
        client.disconnect()
        client.loop_stop()
        await asyncio.wait_for(relayed.wait(), PATIENCE)


async def main(options):
    tickets = []
    for nth in range(3):
        configuration = QuicConfiguration(alpn_protocols=["mqtt"], server_name="localhost")
        configuration.load_verify_locations(options.ca)
        configuration.load_cert_chain(options.cert, options.key)
        configuration.session_ticket = tickets.pop() if tickets else None
        await talk(options, configuration, tickets.append, is_brief=nth == 0)


parser = argparse.ArgumentParser()
parser.add_argument("address")
parser.add_argument("port", type=int)
parser.add_argument("ca")
parser.add_argument("cert")
parser.add_argument("key")
asyncio.run(main(parser.parse_args()))
