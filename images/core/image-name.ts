/**
 * Names of images as people write them: `redis`, `redis:7`, `registry.example/team/app:1.2`.
 * Not here: what a name points to (the ledger's tags).
 * Source: distribution reference grammar; names of Docker's own registry lose their prefix, as Docker shows them.
 */
import { ShoalError } from '../../protocols/base/errors.ts';

export const NAME_LENGTH_MAX = 255;
const DEFAULT_TAG = 'latest';
const DOCKER_PREFIXES = ['docker.io/library/', 'index.docker.io/library/', 'docker.io/', 'index.docker.io/'];
const HOST = '(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?';
const PART = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const NAME = new RegExp(`^${HOST}${PART}(?:/${PART})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** @returns `name:tag`, the tag being `latest` when none is given. @throws E_BAD_INPUT */
export function parseImageName(given: string): string {
  const refuse = () =>
    new ShoalError('E_BAD_INPUT', `"${given.slice(0, 100)}" is not an image name such as redis:7`, {
      detail: { field: 'name' },
    });
  if (given.length > NAME_LENGTH_MAX) throw refuse();
  const prefix = DOCKER_PREFIXES.find((candidate) => given.startsWith(candidate)) ?? '';
  const short = given.slice(prefix.length);
  const colon = short.indexOf(':', short.lastIndexOf('/') + 1);
  const name = colon < 0 ? short : short.slice(0, colon);
  const tag = colon < 0 ? DEFAULT_TAG : short.slice(colon + 1);
  if (!NAME.test(name) || !TAG.test(tag)) throw refuse();
  return `${name}:${tag}`;
}

/** As parseImageName, for names found in archives, where a bad one is left out and not an error. */
export function imageNameOrUndefined(given: string): string | undefined {
  try {
    return parseImageName(given);
  } catch {
    return undefined;
  }
}
