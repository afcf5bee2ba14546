#!/usr/bin/env node
// A receiver of outboxd's deliveries. Node 18 or newer, its own modules only.
//
//     RECEIVER_SECRETS='whsec_...' node receiver.mjs 8091 deliveries.log
//
// RECEIVER_SECRETS has one secret, or two with a space between while a key is changed.
//
// What happens to each request:
//   1. The signature has to be one of ours (Standard Webhooks), else 401.
//   2. The timestamp has to be within five minutes, else 401: whoever has recorded a
//      request cannot send it a day later.
//   3. The effect is a line in a file, with the webhook-id in it. A delivery comes at
//      least once; one that comes again finds its id, and does nothing.
//   4. 200 confirms the delivery. An error of the file is a 500, and outboxd tries again.
//
// The ids are in memory, and read from the file at the start. That is for one process,
// and as long as they fit: a service with a database puts the id into a table, in the
// transaction of the effect, as receiver.py does.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { appendFileSync, closeSync, existsSync, fsyncSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const tolerance = 5 * 60 // seconds
const largest = 16 << 20 // bytes of a body; outboxd's own limit is 1 MiB unless it was raised

// readSecrets returns the keys of secrets as outboxd has them: base64, with or without whsec_.
function readSecrets(text) {
  const keys = text.split(/\s+/).filter(Boolean).map((secret) => {
    const base64 = secret.replace(/^whsec_/, '')
    const key = Buffer.from(base64, 'base64')
    if (key.length === 0 || key.toString('base64').replace(/=+$/, '') !== base64.replace(/=+$/, '')) throw new Error('a secret is not base64')
    return key
  })
  if (keys.length === 0) throw new Error('there is none')
  return keys
}

function isEqual(a, b) {
  return a.length === b.length && timingSafeEqual(a, b)
}

// isSigned tells whether one of the signatures was made with one of the keys.
function isSigned(keys, headers, body) {
  const begin = Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp'] ?? ''}.`)
  const expected = keys.map((key) => Buffer.from(createHmac('sha256', key).update(begin).update(body).digest('base64')))
  return (headers['webhook-signature'] ?? '').split(' ').some((signature) => {
    const [version, value] = signature.split(',', 2)
    return version === 'v1' && value !== undefined && expected.some((e) => isEqual(Buffer.from(value), e))
  })
}

function isRecent(headers) {
  const stamp = headers['webhook-timestamp'] ?? ''
  return /^\d+$/.test(stamp) && Math.abs(Date.now() / 1000 - Number(stamp)) <= tolerance
}

// journal keeps the effects, a line of JSON each, and which deliveries had theirs.
class Journal {
  constructor(path) {
    this.seen = new Set()
    if (existsSync(path)) {
      const text = readFileSync(path, 'utf8')
      for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n').filter(Boolean)) {
        try {
          this.seen.add(JSON.parse(line).id)
        } catch {
          // the end of a line that a crash cut; it was not confirmed
        }
      }
    }
    this.file = openSync(path, 'a')
    appendFileSync(this.file, '\n') // behind a line that was cut
  }

  // take lets a delivery take effect once. It returns false for a repeat.
  take(id, type, body) {
    if (this.seen.has(id)) return false
    // The effect. Yours goes here. Nothing awaits, so that no second delivery of the
    // id comes in between.
    appendFileSync(this.file, JSON.stringify({ id, type, body: body.toString('base64') }) + '\n')
    fsyncSync(this.file)
    this.seen.add(id)
    return true
  }
}

async function read(request) {
  const parts = []
  let length = 0
  for await (const part of request) {
    if ((length += part.length) > largest) return null
    parts.push(part)
  }
  return Buffer.concat(parts)
}

async function respond(keys, journal, request) {
  if (request.method !== 'POST') return [405, 'only POST']
  const body = await read(request)
  if (body === null) return [413, `a body of at most ${largest} bytes`]
  const id = request.headers['webhook-id']
  if (!id || !isSigned(keys, request.headers, body)) return [401, 'the signature is not valid']
  if (!isRecent(request.headers)) return [401, 'the timestamp is not of the last five minutes']
  return [200, journal.take(id, request.headers['outboxd-event-type'] ?? '', body) ? 'done' : 'done before']
}

const [port, path] = process.argv.slice(2)
if (path === undefined) {
  console.error('usage: receiver.mjs PORT FILE')
  process.exit(2)
}
let keys
try {
  keys = readSecrets(process.env.RECEIVER_SECRETS ?? '')
} catch (mistake) {
  console.error(`RECEIVER_SECRETS has to be one or two secrets in base64: ${mistake.message}`)
  process.exit(1)
}
const journal = new Journal(path)
const server = createServer((request, response) => {
  respond(keys, journal, request)
    .catch((failure) => {
      console.error(failure)
      return [500, 'try again']
    })
    .then(([status, text]) => {
      if (status === 413) response.setHeader('Connection', 'close')
      response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(text)
    })
})
server.listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`))
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => server.close(() => { closeSync(journal.file); process.exit(0) }).closeAllConnections())
}
