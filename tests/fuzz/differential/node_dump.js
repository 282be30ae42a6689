// node_dump: what the HTTP parser of Node (llhttp) makes of a stream of requests; the same input and output as h1_dump.
'use strict';
const { HTTPParser } = require('_http_common');
const { allMethods, methods } = require('_http_common');
let names = allMethods || methods;
try { names = process.binding('http_parser').allMethods || names; } catch { /* newer Nodes: the list of _http_common */ }

const { kOnMessageBegin, kOnHeaders, kOnHeadersComplete, kOnBody, kOnMessageComplete } = HTTPParser;
const hex = (text) => Buffer.from(text, 'latin1').toString('hex');
const pairs = (flat) => {
  const out = [];
  for (let i = 0; i + 1 < flat.length; i += 2) out.push([hex(flat[i]), hex(flat[i + 1])]);
  return out;
};

function dump(data) {
  const parser = new HTTPParser();
  const messages = [];
  let current = null, flat = [], url = '', closes = false, upgrades = false;
  const head = (major, minor, headers, method, target, status, text, upgrade, keepAlive) => {
    const fields = headers === undefined ? flat : headers;
    current = { method: hex(names[method]), target: hex(target === undefined ? url : target), version: major * 10 + minor,
                fields: pairs(fields), body: '', trailers: [], done: false };
    messages.push(current);
    flat = [];
    url = '';
    closes = !keepAlive;
    upgrades = upgrade;
    return 0;
  };
  parser.initialize(HTTPParser.REQUEST, {});
  parser[kOnMessageBegin] = () => { flat = []; url = ''; };
  parser[kOnHeaders] = (headers, target) => { flat.push(...headers); url += target; };
  parser[kOnHeadersComplete] = head;
  parser[kOnBody] = (chunk, start, length) => {
    const piece = start === undefined ? chunk : chunk.subarray(start, start + length);
    current.body += piece.toString('hex');
  };
  parser[kOnMessageComplete] = () => {
    current.trailers = pairs(flat);
    current.done = true;
    flat = [];
  };
  const result = parser.execute(data);
  let end = 'more', why = '';
  if (result instanceof Error) {
    why = result.code + ' at ' + result.bytesParsed;
    end = result.code === 'HPE_CLOSED_CONNECTION' ? 'closed' : result.code === 'HPE_PAUSED_UPGRADE' ? 'upgrade' : 'error';
  } else if (upgrades) {
    end = 'upgrade';
  } else if (current && current.done && closes) {
    end = 'closed';
  }
  parser.close();
  return { messages, end, why };
}

const input = require('fs').readFileSync(0);
const out = [];
for (let at = 0; at + 4 <= input.length;) {
  const n = input.readUInt32BE(at);
  out.push(JSON.stringify(dump(input.subarray(at + 4, at + 4 + n))));
  at += 4 + n;
}
process.stdout.write(out.join('\n') + '\n');
