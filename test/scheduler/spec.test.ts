import t from 'tap';
import { SPEC_DEFAULTS } from '../../protocols/base/workload.ts';
import { parseSpec, SPEC_ENTRIES_MAX, SPEC_TEXT_MAX } from '../../scheduler/spec.ts';
import fc from '../laws.ts';

const MINIMAL = { name: 'web', image: 'redis:7' };

t.test('what is left out is filled in', async (t) => {
  t.same(parseSpec(MINIMAL), { ...SPEC_DEFAULTS, ...MINIMAL });
  const partial = parseSpec({
    ...MINIMAL,
    replicas: undefined,
    resources: { cpu_millis: 250 },
    ports: [{ name: 'http', port: 80 }],
    health: { kind: 'tcp' },
  });
  t.equal(partial.replicas, 1);
  t.same(partial.resources, { cpu_millis: 250, memory_bytes: SPEC_DEFAULTS.resources.memory_bytes });
  t.same(partial.health, { ...SPEC_DEFAULTS.health, kind: 'tcp' });
});

t.test('a whole spec stays as it is, and neither input nor defaults are shared with it', async (t) => {
  const first = parseSpec(MINIMAL);
  t.same(parseSpec(first), first);
  first.ports.push({ name: 'x', port: 1 });
  first.env.A = 'b';
  t.same(parseSpec(MINIMAL).ports, []);
  t.same(parseSpec(MINIMAL).env, {});
});

t.test('each mistake is named by its field, in one line', async (t) => {
  const port = { name: 'http', port: 80 };
  const cases: [string, unknown, RegExp][] = [
    ['spec', 'web', /^spec must be an object$/],
    ['spec', null, /object/],
    ['spec', [], /object/],
    ['name', { image: 'x' }, /^name is missing$/],
    ['image', { ...MINIMAL, image: '' }, /^image must/],
    ['name', { ...MINIMAL, name: 'Web' }, /^name must match/],
    ['kind', { ...MINIMAL, kind: 'cron' }, /^kind must be one of service, daemon$/],
    ['replicas', { ...MINIMAL, replicas: '3' }, /^replicas must be integer$/],
    ['replicas', { ...MINIMAL, replicas: 1.5 }, /integer/],
    ['replicas', { ...MINIMAL, replicas: -1 }, />= 0/],
    ['replicas', { ...MINIMAL, replicas: 1001 }, /<= 1000/],
    ['replica', { ...MINIMAL, replica: 3 }, /^replica is not a field; known: namespace, name,/],
    ['__proto__', JSON.parse('{"name":"web","image":"x","__proto__":{}}'), /not a field/],
    ['resources', { ...MINIMAL, resources: 5 }, /^resources must be object$/],
    ['resources.cpu', { ...MINIMAL, resources: { cpu: 1 } }, /not a field; known: cpu_millis/],
    ['resources.memory_bytes', { ...MINIMAL, resources: { memory_bytes: 1 } }, />= 1048576/],
    ['ports[1].port', { ...MINIMAL, ports: [port, { name: 'b', port: 70_000 }] }, /<= 65535/],
    ['ports[0].protocol', { ...MINIMAL, ports: [{ ...port, protocol: 'udp' }] }, /not a field/],
    ['ports[1].name', { ...MINIMAL, ports: [port, { name: 'http', port: 81 }] }, /unique/],
    ['env.1ST', { ...MINIMAL, env: { '1ST': 'x' } }, /digit/],
    ['env.A', { ...MINIMAL, env: { A: 1 } }, /must be string/],
    ['env.A', { ...MINIMAL, env: { A: () => 'x' } }, /must be string/],
    ['env.A', { ...MINIMAL, env: { A: 'x\0y' } }, /NUL/],
    ['command[1]', { ...MINIMAL, command: ['a', '\0'] }, /NUL/],
    ['command', { ...MINIMAL, command: 'a b' }, /must be array/],
    ['constraints.', { ...MINIMAL, constraints: { '': 'x' } }, /name of 1/],
    ['constraints.zone', { ...MINIMAL, constraints: { zone: 1 } }, /string|text/],
    ['health.kind', { ...MINIMAL, health: { kind: 'ping' } }, /one of none, tcp, http, exec/],
    ['health.port', { ...MINIMAL, health: { kind: 'http' } }, /must be given for http/],
    ['health.command', { ...MINIMAL, health: { kind: 'exec' } }, /must be given for exec/],
    [
      'health.command',
      { ...MINIMAL, ports: [port], health: { kind: 'tcp', command: ['x'] } },
      /not be given/,
    ],
    ['health.path', { ...MINIMAL, ports: [port], health: { kind: 'tcp', path: '/' } }, /not be given/],
    ['health.port', { ...MINIMAL, health: { kind: 'none', port: 80 } }, /not be given/],
    ['health.retry', { ...MINIMAL, health: { retry: 1 } }, /not a field/],
    ['health.interval_ms', { ...MINIMAL, health: { interval_ms: 1 } }, />= 100/],
    ['stop_grace_ms', { ...MINIMAL, stop_grace_ms: Number.NaN }, /integer/],
  ];
  for (const [field, input, message] of cases) {
    const wanted = { code: 'E_BAD_SPEC', message, detail: { field } };
    t.throws(() => parseSpec(input), wanted, `${field} of ${JSON.stringify(input)?.slice(0, 80)}`);
  }
});

t.test('a health check may name its own port, and http its path', async (t) => {
  t.equal(parseSpec({ ...MINIMAL, health: { kind: 'tcp', port: 6379 } }).health.port, 6379);
  const health = { kind: 'http', port: 80, path: '/up' };
  t.equal(parseSpec({ ...MINIMAL, health }).health.path, '/up');
  t.same(parseSpec({ ...MINIMAL, health: { kind: 'exec', command: ['true'] } }).health.command, ['true']);
});

t.test('a spec over the caps on entries and text is refused', async (t) => {
  const env = Object.fromEntries(Array.from({ length: SPEC_ENTRIES_MAX + 1 }, (_, at) => [`A${at}`, '']));
  t.throws(() => parseSpec({ ...MINIMAL, env }), { code: 'E_BAD_SPEC', message: /^env must have at most/ });
  const command = Array.from({ length: 5 }, () => 'x'.repeat(Math.ceil(SPEC_TEXT_MAX / 5)));
  t.throws(() => parseSpec({ ...MINIMAL, command }), { code: 'E_BAD_SPEC', message: /characters of text/ });
});

t.test('a name that would be read as another one is refused', async (t) => {
  for (const field of ['env', 'constraints'])
    t.throws(() => parseSpec(JSON.parse(`{"name":"web","image":"redis:7","${field}":{"__proto__":"x"}}`)), {
      code: 'E_BAD_SPEC',
      message: `${field} must name nothing __proto__`,
    });
});

t.test('anything at all gives a spec or E_BAD_SPEC, and a spec parses to itself', async () => {
  const anyField = fc.oneof(fc.anything(), fc.constantFrom('service', 'web', {}, [], 1));
  const input = fc.oneof(
    fc.anything(),
    fc.record(
      Object.fromEntries([...Object.keys(SPEC_DEFAULTS), 'name', 'image'].map((field) => [field, anyField])),
      { requiredKeys: [] },
    ),
  );
  fc.assert(
    fc.property(input, (value) => {
      try {
        const spec = parseSpec(value);
        return JSON.stringify(parseSpec(spec)) === JSON.stringify(spec);
      } catch (error) {
        return (error as { code?: string }).code === 'E_BAD_SPEC';
      }
    }),
    { numRuns: 300 },
  );
});
