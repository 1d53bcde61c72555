import t from 'tap';
import { K8sLogParser } from '../../../daemon/runtime/k8s-log.ts';
import { LINE_BYTES_MAX, LineSplitter } from '../../../daemon/runtime/log-lines.ts';
import fc from '../../laws.ts';

t.test('lines do not depend on how the bytes come in', async () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme' })), fc.array(fc.nat(60)), (parts, cuts) => {
      const bytes = Buffer.from(parts.join('\n'));
      const whole = new LineSplitter();
      const pieces = new LineSplitter();
      const expected = [...whole.push(bytes), ...whole.flush()];
      const found: string[] = [];
      let at = 0;
      for (const cut of cuts) {
        found.push(...pieces.push(bytes.subarray(at, at + cut)));
        at += cut;
      }
      found.push(...pieces.push(bytes.subarray(at)), ...pieces.flush());
      return JSON.stringify(found) === JSON.stringify(expected);
    }),
  );
});

t.test('a line beyond the cap is cut between characters', async (t) => {
  const text = `a${'ä'.repeat(LINE_BYTES_MAX)}`;
  const splitter = new LineSplitter();
  const lines = [...splitter.push(Buffer.from(text)), ...splitter.flush()];
  t.ok(lines.every((line) => Buffer.byteLength(line) <= LINE_BYTES_MAX));
  t.equal(lines.join(''), text);
});

t.test('partial entries of conmon become one line per stream', async (t) => {
  const parser = new K8sLogParser();
  const at = '2026-11-22T16:42:58.735340854+00:00';
  const text = `${at} stdout P one \n${at} stderr F err\n${at} stdout F and two\nnot an entry\n${at} stdout P rest\n`;
  const lines = [...Buffer.from(text)].flatMap((byte) => parser.push(Buffer.from([byte])));
  const at_ms = Date.parse('2026-11-22T16:42:58.735Z');
  t.same(lines, [
    { at_ms, stream: 'stderr', text: 'err' },
    { at_ms, stream: 'stdout', text: 'one and two' },
  ]);
  t.same(parser.flush(), [{ at_ms, stream: 'stdout', text: 'rest' }]);
});
