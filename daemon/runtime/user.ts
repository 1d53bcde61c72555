/**
 * Whom a container runs as: the `user` of an image config looked up in the image's own /etc/passwd and /etc/group.
 * Source: OCI image spec, config.md, `User`; supplementary groups as Docker gives them.
 */
import { ShoalError } from '../../protocols/base/errors.ts';
import { readInRoot } from './rooted-path.ts';

const FILE_BYTES_MAX = 1 << 20;
const GROUPS_MAX = 1024;
const ID_MAX = 2 ** 31 - 1;

export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  /** From passwd; `/` for one that it does not name. */
  readonly home: string;
}

function rows(text: string | null): string[][] {
  return (text ?? '').split('\n').map((line) => line.split(':'));
}

function numeric(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) <= ID_MAX ? Number(text) : null;
}

/** @param user `name`, `uid`, either with `:group` or `:gid`, or empty for root. @throws E_RUNTIME_FAILED */
export async function lookUpUser(root: string, user: string): Promise<ContainerUser> {
  const passwd = rows(await readInRoot(root, '/etc/passwd', FILE_BYTES_MAX));
  const group = rows(await readInRoot(root, '/etc/group', FILE_BYTES_MAX));
  const [who = '', which] = user.split(':', 2);
  const name = who === '' ? '0' : who;
  // A name that is all digits is first looked for as a name, as getpwnam does.
  const entry =
    passwd.find((row) => row[0] === name) ??
    passwd.find((row) => numeric(name) !== null && numeric(row[2]) === numeric(name));
  const uid = numeric(entry?.[2]) ?? numeric(name);
  if (uid === null)
    throw new ShoalError('E_RUNTIME_FAILED', `The image has no user "${who}"; nothing was created.`);
  let gid = numeric(entry?.[3]) ?? 0;
  if (which) {
    const found = numeric(group.find((row) => row[0] === which)?.[2]) ?? numeric(which);
    if (found === null)
      throw new ShoalError('E_RUNTIME_FAILED', `The image has no group "${which}"; nothing was created.`);
    gid = found;
  }
  const login = entry?.[0];
  const memberOf = which
    ? []
    : group
        .filter((row) => login !== undefined && (row[3] ?? '').split(',').includes(login))
        .map((row) => numeric(row[2]));
  const additionalGids = [...new Set(memberOf.filter((id) => id !== null && id !== gid))].slice(
    0,
    GROUPS_MAX,
  ) as number[];
  return { uid, gid, additionalGids, home: entry?.[5] || '/' };
}
