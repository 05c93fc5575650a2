'use strict';
// A program that preload.js has loaded once before the real one.
const lines = [];
class Counter {
  #n = 0;
  next() {
    return ++this.#n;
  }
}
const counter = new Counter();
for (const word of 'one two'.split(' ')) lines.push(`${counter.next()} ${word}`);
module.exports = JSON.parse(JSON.stringify({ lines }));
