/**
 * Reads what scripts/test runs (TAP 14 of tap, and the lines of the static checks) and shows it: a line for each test
 * file as it ends, all of what failed, what was skipped and why, and last the totals.
 * It exits with 1 when anything failed, and when there was nothing at all. Where SHOAL_SKIPS names a file of reasons, one
 * a line, whatever is skipped for another reason has failed.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { stripVTControlCharacters } from 'node:util';

/** Lines of one test file that are kept to be shown when it fails. */
const LINES_MAX = 20_000;
/** Lines of particulars of one failure that are shown again at the end. */
const FAILURE_LINES_MAX = 60;

const { SHOAL_SKIPS } = process.env;
const allowed = SHOAL_SKIPS === undefined ? undefined : readFileSync(SHOAL_SKIPS, 'utf8').split('\n');

const totals = { pass: 0, fail: 0, skip: 0, todo: 0 };
const skipped: string[] = [];
const failures: string[] = [];
let kept: string[] = [];
let suiteFailed = false;
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
function point(match: RegExpExecArray): void {
  const [, space = '', not, text = ''] = match;
  const depth = space.length / 4;
  const [name = '', directive = ''] = text.split(/ # (?=SKIP|TODO|time)/);
  const where = [...parents.slice(0, depth), name].join(' > ');
  const isParent = parents.length > depth;
  parents.length = Math.min(parents.length, depth);
  if (directive.startsWith('SKIP')) skip(where, directive.slice(5) || 'no reason given');
  if (not && !directive.startsWith('TODO')) {
    // A subtest fails because something in it did, and that has been kept already.
    if (isParent && failures.some((failure) => failure.startsWith(`${where} > `))) failing = undefined;
    else failing = { indent: space.length, lines: [where] };
  }
  if (depth > 0 || name === '') return;
  print(`${not ? 'FAILED' : 'ok    '} ${text.replace(/ # time=/, '  ')}`);
  if (not) for (const one of kept) print(`    ${one}`);
  kept = [];
}

function skip(where: string, reason: string): void {
  skipped.push(`${where}: ${reason}`);
  if (allowed === undefined || allowed.includes(reason)) return;
  totals.fail += 1;
  failures.push(`${where} was skipped, which is not allowed here: ${reason}`);
}

/** The block of particulars (YAML) below a failed point is indented by two more than the point. */
function particulars(line: string): void {
  if (!failing) return;
  if (line.startsWith(' '.repeat(failing.indent + 2))) {
    if (failing.lines.length < FAILURE_LINES_MAX) failing.lines.push(line.slice(failing.indent));
    return;
  }
  failures.push(failing.lines.join('\n'));
  failing = undefined;
}

function take(raw: string): void {
  const line = stripVTControlCharacters(raw);
  particulars(line);
  const subtest = /^( *)# Subtest: (.*)$/.exec(line);
  const found = /^( *)(not )?ok \d+(?: - (.*))?$/.exec(line);
  const step = /^(ok {4}|FAILED) .* \d+\.\d s$/.test(line);
  if (/^ {4}/.test(line) && kept.length < LINES_MAX) kept.push(line);
  if (subtest) {
    const depth = (subtest[1] ?? '').length / 4;
    parents.length = Math.min(parents.length, depth);
    parents[depth] = subtest[2] ?? '';
  } else if (found) {
    point(found);
  } else if (/^# \{ total:/.test(line)) {
    count(line);
  } else if (line === '# suite failed') {
    suiteFailed = true;
  } else if (line === '# check failed') {
    totals.fail += 1;
    failures.push('the static checks failed: see above');
  } else if (step) {
    if (line.startsWith('ok')) totals.pass += 1;
    print(line);
  } else if (line.trim() !== '' && !/^ {2}|^TAP version|^1\.\.\d+|^# (?:time=|No coverage)/.test(line)) {
    print(line);
  }
}

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
