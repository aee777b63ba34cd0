// Stands in for what runs in the pod's network: a service, and the pod's own program.
const http = require('node:http')

const serve = text => new Promise(resolve => {
  const server = http.createServer((_, response) => response.end(text)).listen(0, '127.0.0.1', () => resolve(server.address().port))
})

Promise.all(['12 apples, 7 pears in stock', "the pod's own program\n"].map(serve)).then(ports => console.log('listening', ...ports))
