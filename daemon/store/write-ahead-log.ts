/**
 * Looks into SQLite's write-ahead log before SQLite does. SQLite ends it silently at the first frame that fails its
 * checksum: right after a crash, when that is the end of a write that was acknowledged to nobody, and a loss when a
 * frame has gone bad. The two can be told apart: a transaction is only begun when the one before it is on the disk.
 * Source: SQLite file format, section 4.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync, truncateSync } from 'node:fs';

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
/** Of the checksum's own order of bytes the lowest bit of this tells. */
const MAGIC = 0x377f0682;
/** SQLite folds the log in at 4 MB; a larger one than this is not looked at. */
export const LOG_BYTES_MAX = 256 << 20;

/** What is read at once: the least that a disk gives back or not. */
const BLOCK_BYTES = 4096;
/** Of a log that cannot be read to its end it is not known how many are lost: as many as are told of at all. */
export const UNKNOWN_LOST = 2;

/** How many transactions were on the disk once and will not be read. One, the last, may be missed. */
export function lostTransactions(log: string): number {
  if (!existsSync(log) || statSync(log).size > LOG_BYTES_MAX) return 0;
  const { bytes, isWhole } = readable(log);
  return isWhole ? lostIn(bytes) : Math.max(lostIn(bytes), UNKNOWN_LOST);
}

/** Cuts a log before the first place that the disk does not give back. SQLite reads none of it else. */
export function cutUnreadable(log: string): void {
  if (!existsSync(log) || statSync(log).size > LOG_BYTES_MAX) return;
  const { bytes, isWhole } = readable(log);
  if (!isWhole) truncateSync(log, bytes.byteLength);
}

/** A file up to its end, or up to the first place that cannot be read. */
function readable(file: string): { readonly bytes: Buffer; readonly isWhole: boolean } {
  const handle = openSync(file, 'r');
  try {
    const { size } = fstatSync(handle);
    const bytes = Buffer.alloc(size);
    for (let at = 0; at < size; ) {
      let count = 0;
      try {
        count = readSync(handle, bytes, at, Math.min(BLOCK_BYTES, size - at), at);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
      }
      if (count === 0) return { bytes: bytes.subarray(0, at), isWhole: false };
      at += count;
    }
    return { bytes, isWhole: true };
  } finally {
    closeSync(handle);
  }
}

function lostIn(bytes: Buffer): number {
  if (bytes.byteLength < HEADER_BYTES + FRAME_HEADER_BYTES) return 0;
  const isBigEndian = (bytes.readUInt32BE(0) & 1) === 1;
  const page = bytes.readUInt32BE(8);
  const isWhole = isPageSize(page) && (bytes.readUInt32BE(0) & ~1) === MAGIC;
  const frame = FRAME_HEADER_BYTES + (isWhole ? page : 4096);
  let sum = checksum(bytes.subarray(0, 24), isBigEndian, [0, 0]);
  let isGood = isWhole && sum[0] === bytes.readUInt32BE(24) && sum[1] === bytes.readUInt32BE(28);
  const salt = isGood ? bytes.subarray(16, 24) : agreedSalt(bytes, frame);
  let commits = 0;
  for (let at = HEADER_BYTES; at + frame <= bytes.byteLength; at += frame) {
    const head = bytes.subarray(at, at + FRAME_HEADER_BYTES);
    const isOfThisLog = Buffer.compare(head.subarray(8, 16), salt) === 0;
    if (isGood) {
      sum = checksum(head.subarray(0, 8), isBigEndian, sum);
      sum = checksum(bytes.subarray(at + FRAME_HEADER_BYTES, at + frame), isBigEndian, sum);
      isGood = isOfThisLog && sum[0] === head.readUInt32BE(16) && sum[1] === head.readUInt32BE(20);
    }
    if (!isGood && isOfThisLog && head.readUInt32BE(4) !== 0) commits += 1;
  }
  // One commit may be of the write that was cut off by the crash: its parts come to the disk in any order.
  return commits > 1 ? commits : 0;
}

/** With a bad header the frames' own word counts for which of them belong together: the first that two in a row agree on. */
function agreedSalt(bytes: Buffer, frame: number): Buffer {
  const saltAt = (at: number) => bytes.subarray(at + 8, at + 16);
  for (let at = HEADER_BYTES; at + 2 * frame <= bytes.byteLength; at += frame)
    if (Buffer.compare(saltAt(at), saltAt(at + frame)) === 0) return saltAt(at);
  return saltAt(HEADER_BYTES);
}

function isPageSize(page: number): boolean {
  return page >= 512 && page <= 65_536 && (page & (page - 1)) === 0;
}

function checksum(bytes: Buffer, isBigEndian: boolean, seed: readonly [number, number]): [number, number] {
  let [first, second] = seed;
  for (let at = 0; at < bytes.byteLength; at += 8) {
    const [a, b] = isBigEndian
      ? [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4)]
      : [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
    first = (first + a + second) >>> 0;
    second = (second + b + first) >>> 0;
  }
  return [first, second];
}
