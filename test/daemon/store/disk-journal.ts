/** Runs a program on a disk that is written down: every change below a directory, in order. The journal's format is in disk-journal.c. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { type Built, preloaded } from './preloaded.ts';

export interface DiskOp {
  /** create, mkdir, write, truncate, sync, unlink, rename, link, mark. */
  readonly op: 'C' | 'D' | 'W' | 'T' | 'S' | 'U' | 'R' | 'L' | 'M';
  readonly inode: number;
  /** Where a write begins, or the size after a truncation. */
  readonly at: number;
  readonly data: Buffer;
  readonly path: string;
  readonly other: string;
}

/** Compiles the library that writes the journal. */
export function buildJournal(directory: string): Built {
  return preloaded('disk-journal', directory);
}

/** @param argv of the program; it finds the directory in SHOAL_DISK_ROOT and writes marks to SHOAL_DISK_MARKS. */
export function runJournalled(
  library: string,
  directory: string,
  root: string,
  argv: readonly string[],
): DiskOp[] {
  const journal = path.join(directory, 'journal');
  const { status, stderr } = spawnSync(process.execPath, argv, {
    encoding: 'utf8',
    timeout: 120_000,
    env: {
      PATH: process.env['PATH'],
      LD_PRELOAD: library,
      SHOAL_DISK_ROOT: root,
      SHOAL_DISK_JOURNAL: journal,
      SHOAL_DISK_MARKS: path.join(directory, 'marks'),
    },
  });
  if (status !== 0 || !existsSync(journal))
    throw new Error(`the program on the journalled disk failed: ${stderr}`);
  if (statSync(journal).size === 0) throw new Error('the journal is empty');
  return parse(readFileSync(journal));
}

function parse(bytes: Buffer): DiskOp[] {
  const ops: DiskOp[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const newline = bytes.indexOf(10, at);
    const [, op, inode, offset, count, name, other] =
      /^(\w) (\d+) (\d+) (\d+) ([^\t]*)\t(.*)$/.exec(bytes.toString('utf8', at, newline)) ?? [];
    if (op === undefined) throw new Error(`no entry of a journal at ${at}`);
    const end = newline + 1 + Number(count);
    ops.push({
      op: op as DiskOp['op'],
      inode: Number(inode),
      at: Number(offset),
      data: bytes.subarray(newline + 1, end),
      path: name!,
      other: other!,
    });
    at = end;
  }
  return ops;
}
