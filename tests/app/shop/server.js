// A program that uses what a pod has: its environment, files, names, connections, port, and programs of its own. It runs until it is stopped.
const { execFileSync } = require('child_process')
const fs = require('fs')
const http = require('http')

const paint = (color, text) => `\x1b[${color}m${text}\x1b[0m`
console.log(paint(1, 'shop'), 'on', paint(36, require('os').hostname()))
console.log(paint(34, 'file'), fs.readFileSync('/srv/shop/motd', 'utf8').trim())
console.log(paint(34, 'shell'), execFileSync('sh', ['-c', 'echo $GREETING; hostname'], { encoding: 'utf8' }).trim().replace('\n', ' from '))
try {
  fs.writeFileSync('/srv/shop/prices', 'none', { flag: 'r+' })
} catch (err) {
  console.log(paint(33, 'write'), err.code)
}

http.createServer((request, response) => response.end('hello from this machine\n')).listen(8080, () => console.log(paint(32, 'ready'), 'on port 8080'))
let asked = 0
setInterval(() => {
  fs.readdirSync('/srv/shop')
  http.get('http://inventory:80/', answer => {
    answer.resume()
    console.log(paint(90, String(++asked).padStart(4)), 'inventory', paint(32, answer.statusCode))
  }).on('error', err => console.log(paint(90, String(++asked).padStart(4)), 'inventory', paint(31, err.code)))
}, 200)
