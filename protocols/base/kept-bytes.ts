/**
 * Bytes that are kept for long, out of the message that brought them: a small record must not keep a large message in
 * memory. Small ones share pages, for a buffer of its own costs several times its copy; a page stays as long as any of
 * them, so it is small too. What is in no larger buffer than a page, or is most of it, stays where it is.
 */
const PAGE_BYTES = 4096;
/** Longer ones get a buffer of their own. */
const SHARED_BYTES_MAX = PAGE_BYTES / 4;

let page = new Uint8Array(0);
let used = 0;

/**
 * @returns equal bytes, which nobody may change, nor `bytes` from now on, for they may be the same. Kept bytes are
 * returned as they are.
 */
export function keptBytes(bytes: Uint8Array): Uint8Array {
  const { byteLength } = bytes;
  const around_bytes = bytes.buffer.byteLength;
  if (around_bytes <= PAGE_BYTES || byteLength * 2 >= around_bytes) return bytes;
  // Not `slice`, which of a Buffer makes no copy.
  if (byteLength > SHARED_BYTES_MAX) return new Uint8Array(bytes);
  if (byteLength > page.byteLength - used) {
    page = new Uint8Array(PAGE_BYTES);
    used = 0;
  }
  page.set(bytes, used);
  const kept = new Uint8Array(page.buffer, used, byteLength);
  used += byteLength;
  return kept;
}
