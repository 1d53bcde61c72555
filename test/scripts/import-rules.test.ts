/** The import rules notice what they forbid, and cannot be blind. */
import path from 'node:path';
import t from 'tap';
import { checkImports, importsOf, readSources } from '../../scripts/import-rules.ts';

const messages = (file: string, text: string) =>
  checkImports([
    { path: file, text },
    { path: 'daemon/x.ts', text: "import '../scheduler/plan.ts';" },
  ]).map((found) => found.message);

t.test('imports of every form are found, with their lines', async (t) => {
  const text = `import a from './a.ts';
import type { B } from './b.ts';
import './c.ts';
export { d } from "./d.ts";
export type { E } from './e.ts';
const f = await import('./f.ts');
type G = import('./g.ts').G;
import {
  h,
  type I,
} from './h.ts';
const j = require(\`./j.ts\`);
`;
  t.strictSame(
    importsOf(text)
      .map(({ specifier, line }) => [specifier, line])
      .sort(),
    [
      ['./a.ts', 1],
      ['./b.ts', 2],
      ['./c.ts', 3],
      ['./d.ts', 4],
      ['./e.ts', 5],
      ['./f.ts', 6],
      ['./g.ts', 7],
      ['./h.ts', 8],
      ['./j.ts', 12],
    ],
  );
  t.strictSame(
    importsOf(text)
      .filter((one) => one.typeOnly)
      .map((one) => one.specifier),
    ['./b.ts', './e.ts'],
  );
});

t.test('comments, strings, templates and regular expressions are no imports', async (t) => {
  const text = `// import './a.ts';
/* import './b.ts'; */
const c = "import './c.ts'";
const d = \`import './d.ts' \${'x' + \`\${1}\`} import './e.ts'\`;
const f = /import '.\\/f.ts'/;
class X { async import(path: string): Promise<void> { this.import(path); } }
interface Y { import(path: string): void }
`;
  t.strictSame(importsOf(text), []);
});

t.test('each layer imports only what is below it', async (t) => {
  const bad: [string, string][] = [
    ['protocols/base/a.ts', '../ledger/ledger.ts'],
    ['protocols/view/a.ts', '../../scheduler/plan.ts'],
    ['scheduler/a.ts', '../images/images.ts'],
    ['images/a.ts', '../scheduler/plan.ts'],
    ['images/a.ts', '../daemon/log.ts'],
    ['daemon/cli/a.ts', '../node.ts'],
    ['daemon/cli/a.ts', '../main.ts'],
    ['daemon/cli/a.ts', '../api/server.ts'],
    ['daemon/cli/a.ts', '../../scheduler/plan.ts'],
    ['protocols/base/a.ts', '../../test/x.ts'],
  ];
  for (const [file, to] of bad) {
    t.match(messages(file, `import '${to}';`), [/may not import/], `${file} imports ${to}`);
    t.match(
      messages(file, `import type { X } from '${to}';`),
      [/may not import/],
      `${file} imports types of ${to}`,
    );
    t.match(messages(file, `await import('${to}');`), [/may not import/], `${file} loads ${to}`);
  }
  const good: [string, string][] = [
    ['protocols/ledger/a.ts', '../base/ids.ts'],
    ['protocols/view/a.ts', '../ledger/ledger.ts'],
    ['scheduler/a.ts', '../protocols/view/view.ts'],
    ['daemon/a.ts', '../images/images.ts'],
    ['daemon/cli/a.ts', '../api/client.ts'],
    ['daemon/cli/commands/daemon.ts', '../../main.ts'],
  ];
  for (const [file, to] of good) t.strictSame(messages(file, `import '${to}';`), [], `${file} imports ${to}`);
});

t.test('the CLI takes only types from the schemas', async (t) => {
  t.match(messages('daemon/cli/a.ts', "import { X } from '../api/schemas.ts';"), [/only types/]);
  t.strictSame(messages('daemon/cli/a.ts', "import type { X } from '../api/schemas.ts';"), []);
});

t.test('a pure part touches nothing of the world', async (t) => {
  for (const text of [
    "import fs from 'node:fs';",
    "import fs from 'fs';",
    'const x = Date.now();',
    'const x = new Date();',
    'const x = Math.random();',
    'setTimeout(f, 1);',
    'const x = process.env;',
    "console.log('x');",
    'const x = performance.now();',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source code to be scanned
    'const x = `${Date.now()}`;',
  ]) {
    t.equal(messages('scheduler/a.ts', text).length, 1, text);
    t.equal(messages('images/core/a.ts', text).length, 1, text);
    t.equal(messages('daemon/a.ts', text).length, 0, text);
    t.equal(messages('protocols/mesh/a.ts', text).length, 0, text);
  }
  for (const text of [
    '// Date.now()',
    "const x = 'Date';",
    'const update = updateDate;',
    '/** setTimeout */',
  ]) {
    t.strictSame(messages('scheduler/a.ts', text), [], text);
  }
});

t.test('a library has its one place', async (t) => {
  t.match(messages('daemon/a.ts', "import { x } from '@libp2p/tcp/deep';"), [/only protocols\/mesh/]);
  t.match(messages('protocols/ledger/a.ts', "import { Packr } from 'msgpackr';"), [
    /only protocols\/base\/codec.ts/,
  ]);
  t.match(messages('images/a.ts', "import W from 'webtorrent';"), [/only images\/swarm/]);
  t.match(messages('daemon/node.ts', "import f from 'fastify';"), [/only daemon\/api/]);
  const twice = checkImports(
    ['a', 'b'].map((name) => ({ path: `daemon/${name}.ts`, text: "import 'node:sqlite';" })),
  );
  t.match(twice, [{ message: /has 2 importers, 1 is allowed: daemon\/a.ts, daemon\/b.ts/ }]);
});

t.test('an import of a computed name is refused', async (t) => {
  t.match(messages('daemon/a.ts', 'await import(name);'), [/computed/]);
});

t.test('a check that saw nothing fails', async (t) => {
  t.match(checkImports([]), [{ message: /blind/ }]);
  t.match(checkImports([{ path: 'elsewhere/a.ts', text: "import 'x';" }]), [{ message: /blind/ }]);
});

t.test('the sources of this repository are seen', async (t) => {
  const files = readSources(path.resolve(import.meta.dirname, '../..'));
  t.ok(files.some((file) => file.path === 'protocols/base/errors.ts'));
  t.ok(files.some((file) => file.path === 'daemon/api/routes/exec.ts'));
});
