// A client on mqtt.js that reconnects by itself: prints what happens to it, a JSON object a line, until it is ended.
//
// usage: cut.js URL [the options of client.js]

'use strict';

const { values, open } = require('./client.js');

const say = (event, more) => console.log(JSON.stringify({ event, ...more }));

const client = open('cut', { reconnectPeriod: 200 });
client.on('connect', () => {
  say('connected');
  client.subscribe(`${values.id}/cut`, { qos: 1 }, (error) => say('subscribed', { error: error?.message }));
});
client.on('message', (topic, payload) => say('message', { text: payload.toString() }));
client.on('disconnect', (packet) => say('disconnect', { code: packet.reasonCode }));
client.on('close', () => say('closed'));
client.on('reconnect', () => say('reconnects'));
client.on('error', (error) => say('error', { text: error.message, code: error.code }));
