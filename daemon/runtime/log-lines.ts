/** Cuts a stream of bytes into log lines: at newlines, and at 16 KiB where a line is longer. Pure. */

/** Longest text of one log line, bytes. */
export const LINE_BYTES_MAX = 16 * 1024;

const NEWLINE = 10;

export class LineSplitter {
  #pending: Buffer = Buffer.alloc(0);

  /** The lines that `chunk` completes, without newlines. */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let rest = this.#pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#pending, chunk]);
    for (;;) {
      const end = rest.indexOf(NEWLINE);
      if (end >= 0 && end <= LINE_BYTES_MAX) {
        lines.push(rest.toString('utf8', 0, end));
        rest = rest.subarray(end + 1);
      } else if (rest.length > LINE_BYTES_MAX) {
        const cut = characterBoundary(rest, LINE_BYTES_MAX);
        lines.push(rest.toString('utf8', 0, cut));
        rest = rest.subarray(cut);
      } else break;
    }
    this.#pending = Buffer.from(rest);
    return lines;
  }

  /** The unfinished line at the end of the stream, if there is one. */
  flush(): string[] {
    const rest = this.#pending;
    this.#pending = Buffer.alloc(0);
    return rest.length === 0 ? [] : [rest.toString('utf8')];
  }
}

/** The last place not after `at` that does not divide a UTF-8 character. */
function characterBoundary(bytes: Buffer, at: number): number {
  for (let cut = at; cut > at - 4; cut -= 1) if ((bytes[cut]! & 0xc0) !== 0x80) return cut;
  return at;
}
