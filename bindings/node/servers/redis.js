// SPDX-License-Identifier: LGPL-2.1-or-later
'use strict';
// As much of a Redis client as the server needs: one connection, whose requests are answered in their order.

const net = require('node:net');

class Connection {
  #address;
  #socket;
  #connecting; // the promise of #connect()
  #waiting = [];
  #input = '';

  constructor(host, port) {
    this.#address = { host, port };
  }

  connect(signal) {
    this.#connecting ??= new Promise((resolve, reject) => {
      const socket = net.connect({ ...this.#address, noDelay: true, signal });
      socket.setEncoding('latin1');
      socket.once('connect', resolve);
      socket.on('data', (data) => this.#take(data));
      socket.on('error', (error) => reject((this.error = error)));
      // The next request connects again.
      socket.once('close', () => {
        const error = this.error ?? Object.assign(new Error('the connection was closed'), { errno: -104 });
        this.#connecting = undefined;
        this.#input = '';
        for (const { reject } of this.#waiting.splice(0)) reject(error);
      });
      this.#socket = socket;
    });
    return this.#connecting;
  }

  async get(key) {
    await this.connect();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`GET ${key}\r\n`);
    });
  }

  #take(data) {
    this.#input += data;
    for (;;) {
      const head = /^\$(\d+)\r\n/.exec(this.#input);
      const end = head && head[0].length + Number(head[1]);
      if (!head || this.#input.length < end + 2) return;
      this.#waiting.shift().resolve(this.#input.slice(head[0].length, end));
      this.#input = this.#input.slice(end + 2);
    }
  }

  close() {
    this.#socket?.end();
  }
}

module.exports = { Connection };
