// What the scripts on mqtt.js share: options of the command line, and clients whose events are awaited one by one.
//
// usage: SCRIPT.js URL [--version 4|5] [--id NAME] [--ca FILE] [--cert FILE --key FILE]

'use strict';

const { readFileSync } = require('node:fs');
const { parseArgs } = require('node:util');
const mqtt = require('mqtt');

const PATIENCE_MS = 60_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    version: { type: 'string', default: '4' },
    id: { type: 'string', default: 'mqtt.js' },
    ca: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
  },
});
const [url, ...rest] = positionals;
const isV5 = values.version === '5';
const read = (file) => file && readFileSync(file);
// Certificates are for a name, and hosts of tests have addresses only.
const tls = { ca: read(values.ca), cert: read(values.cert), key: read(values.key), servername: 'localhost' };

// What comes, in order; `next` waits for it.
class Inbox {
  #items = [];
  #waiting = [];

  put(item) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#items.push(item);
  }

  next(what) {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no ${what} came`)), PATIENCE_MS);
      this.#waiting.push((item) => {
        clearTimeout(late);
        resolve(item);
      });
    });
  }

  get length() {
    return this.#items.length;
  }
}

// A client that does not reconnect unless it is told to. Its messages are in `inbox`: topic, payload, and the packet.
function open(name, options = {}) {
  const client = mqtt.connect(url, {
    protocolVersion: Number(values.version),
    clientId: `${values.id}-${name}`,
    reconnectPeriod: 0,
    ...tls,
    wsOptions: tls,
    ...options,
  });
  client.inbox = new Inbox();
  client.on('message', (topic, payload, packet) => client.inbox.put({ topic, payload, packet }));
  return client;
}

// Waits for CONNACK; that is in `connack`.
async function connect(name, options) {
  const client = open(name, options);
  client.connack = await new Promise((resolve, reject) => {
    client.once('connect', resolve);
    client.once('error', reject);
    client.once('close', () => reject(new Error(`${name} is closed`)));
  });
  return client;
}

module.exports = { values, rest, isV5, open, connect };
