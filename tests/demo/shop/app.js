// A web app that tells what it can see. It knows nothing of mirrord.
const dns = require('node:dns').promises
const fs = require('node:fs').promises
const http = require('node:http')

const or = (fallback, promise) => promise.catch(() => fallback)

http.createServer(async (request, response) => {
  if (request.url === '/quit') return response.end(() => process.exit())
  if (request.url === '/who') return response.end('the app on this machine\n')
  response.end([
    `env=${process.env.GREETING ?? 'not set'}`,
    `file=${(await or('not found', fs.readFile('/srv/shop/prices.txt', 'utf8'))).trim()}`,
    `name=${await or('not found', dns.lookup('inventory.shop').then(found => found.address))}`,
    `service=${await or('cannot be reached', fetch('http://inventory.shop/').then(answer => answer.text()))}`,
  ].join('\n') + '\n')
}).listen(process.env.PORT, () => console.log(`listening ${process.env.PORT}`))
