/**
 * Reads what scripts/test runs (TAP 14 of tap, and the lines of the static checks) and shows it: a line for each test
 * file as it ends, all of what failed, what was skipped and why, and last the totals.
 * It exits with 1 when anything failed, and when there was nothing at all.
 */
import { createInterface } from 'node:readline';
import { stripVTControlCharacters } from 'node:util';

/** Lines of one test file that are kept to be shown when it fails. */
const LINES_MAX = 20_000;

const totals = { pass: 0, fail: 0, skip: 0, todo: 0 };
const skipped: string[] = [];
const failures: string[] = [];
let kept: string[] = [];
/** Names of the open subtests, outermost first. */
const parents: string[] = [];
let failing: { indent: number; lines: string[] } | undefined;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function count(line: string): void {
  for (const [, name, number] of line.matchAll(/(pass|fail|skip|todo): (\d+)/g)) {
    totals[name as keyof typeof totals] += Number(number);
  }
}

/** A test point: `ok 2 - name # time=1ms`, at any depth. */
function point(line: string, match: RegExpExecArray): void {
  const [, space = '', not, text = ''] = match;
  const depth = space.length / 4;
  const [name = '', directive = ''] = text.split(/ # (?=SKIP|TODO|time)/);
  const where = [...parents.slice(0, depth), name].join(' > ');
  const isParent = parents.length > depth;
  parents.length = Math.min(parents.length, depth);
  if (directive.startsWith('SKIP')) skipped.push(`${where}: ${directive.slice(5) || 'no reason given'}`);
  if (not && !directive.startsWith('TODO')) {
    // A subtest fails because something in it did, and that has been kept already.
    if (isParent && failures.some((failure) => failure.startsWith(`${where} > `))) failing = undefined;
    else failing = { indent: space.length, lines: [where] };
  }
  if (depth > 0 || name === '') return;
  print(`${not ? 'FAILED' : 'ok    '} ${text.replace(/ # time=/, '  ')}`);
  if (not) for (const one of kept) print(`    ${one}`);
  kept = [];
  if (line === '') parents.length = 0;
}

function take(raw: string): void {
  const line = stripVTControlCharacters(raw);
  const subtest = /^( *)# Subtest: (.*)$/.exec(line);
  if (failing) {
    const inBlock = line.startsWith(' '.repeat(failing.indent + 2));
    if (inBlock && failing.lines.length < 60) failing.lines.push(line.slice(failing.indent));
    if (!inBlock) {
      failures.push(failing.lines.join('\n'));
      failing = undefined;
    }
  }
  if (subtest) {
    const depth = (subtest[1] ?? '').length / 4;
    // tap indents the comment of a nested subtest as it does its points.
    parents.length = Math.min(parents.length, depth);
    parents[depth] = subtest[2] ?? '';
    return;
  }
  const found = /^( *)(not )?ok \d+(?: - (.*))?$/.exec(line);
  if (found) {
    if (kept.length < LINES_MAX && found[1] !== '') kept.push(line);
    return point(line, found);
  }
  if (/^# \{ total:/.test(line)) return count(line);
  if (line === '# suite failed') return void (suiteFailed = true);
  if (line === '# check failed') {
    totals.fail += 1;
    failures.push('the static checks failed: see above');
    return;
  }
  if (/^(ok {4}|FAILED) .* \d+\.\d s$/.test(line)) {
    if (line.startsWith('ok')) totals.pass += 1;
    return print(line);
  }
  if (/^TAP version|^1\.\.\d+|^# (?:time=|No coverage)/.test(line)) return;
  if (/^ {4}/.test(line)) {
    if (kept.length < LINES_MAX) kept.push(line);
  } else if (line.trim() !== '' && !/^ {2}/.test(line)) print(line);
}

let suiteFailed = false;
for await (const line of createInterface({ input: process.stdin })) take(line);
if (failing) failures.push(failing.lines.join('\n'));

if (suiteFailed && totals.fail === 0) {
  totals.fail = 1;
  failures.push('tap ended with a failure that no test reported: a file that crashed, or a time limit');
}
if (totals.pass + totals.fail === 0) {
  totals.fail = 1;
  failures.push('no test has run');
}
const show = (title: string, list: readonly string[]) => {
  if (list.length === 0) return;
  print(`\n${title}`);
  for (const one of list) print(`  ${one.replaceAll('\n', '\n  ')}`);
};
show('Skipped:', skipped);
show('Failed:', failures);
print('');
const skips = totals.skip + totals.todo;
print(`${totals.pass} passed, ${totals.fail} failed${skips > 0 ? `, ${skips} skipped` : ''}`);
process.exitCode = totals.fail > 0 ? 1 : 0;
