// The demo's own service where there are no containers: a small HTTP server. It says who it is on /, and gives the
// file that makes its image worth sharing on /payload. HOST and PORT come from the daemon.
import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';

const { HOST = '127.0.0.1', PORT = '8080', SHOAL_SLOT = '', SHOAL_NODE = '' } = process.env;

const server = createServer((request, response) => {
  if (request.url === '/payload') {
    createReadStream(new URL('payload', import.meta.url)).pipe(response);
    return;
  }
  response.setHeader('content-type', 'application/json');
  response.end(`${JSON.stringify({ slot: SHOAL_SLOT, node: SHOAL_NODE })}\n`);
});
server.listen(Number(PORT), HOST);
process.once('SIGTERM', () => process.exit(0));
