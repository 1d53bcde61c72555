/** Grants and revocations that this node writes: with its own key, or with an operator's, which may be used on any host. */
import type { Crypto, Signer } from '../../protocols/base/crypto.ts';
import { ShoalError } from '../../protocols/base/errors.ts';
import type { KeyId, NodeId } from '../../protocols/base/ids.ts';
import { type GrantBody, type RevokeBody, recordKey } from '../../protocols/base/records.ts';
import type { LedgerRecord } from '../../protocols/ledger/record.ts';
import { sealAct } from '../admission.ts';
import type { Clock } from '../clock.ts';
import type { LedgerDriver } from '../drivers/ledger-driver.ts';

/** A key of its own, or this node. */
export type Author = Signer | NodeId;

export class ActWriter {
  readonly #init: { readonly ledger: LedgerDriver; readonly crypto: Crypto; readonly clock: Clock };

  constructor(init: { readonly ledger: LedgerDriver; readonly crypto: Crypto; readonly clock: Clock }) {
    this.#init = init;
  }

  /** Resolves once it is durable here. @throws E_NOT_ALLOWED, and what the disk says */
  async write(author: Author, kind: 'grant' | 'revoke', body: GrantBody | RevokeBody): Promise<LedgerRecord> {
    const { ledger, crypto, clock } = this.#init;
    if (typeof author === 'string')
      return await ledger.write(author, kind, recordKey[kind](body.subject, author), body);
    const { machine } = ledger;
    const known = machine.ledger.recordsOf(author.id);
    const record = sealAct({
      cluster: machine.cluster,
      signer: author,
      kind,
      body,
      known,
      crypto,
      now: clock.now(),
    });
    await this.introduce([record]);
    return record;
  }

  /** What was signed here, in one transaction. @throws as `write` */
  async introduce(records: readonly LedgerRecord[]): Promise<void> {
    const { ledger } = this.#init;
    const latest_ms = Math.max(...records.map(({ hlc }) => hlc.ms));
    const refused = await ledger.introduce(
      records.map(({ bytes }) => bytes),
      latest_ms,
    );
    if (refused === undefined) return;
    const why = refused === 'unknown-author' ? 'it is no operator of this cluster' : refused;
    const taken = records.filter((record) => ledger.machine.ledger.has(record));
    const state =
      taken.length === 0
        ? 'nothing was changed'
        : `${taken.length} of ${records.length} records were written, as \`shoal cluster history\` shows`;
    throw new ShoalError('E_NOT_ALLOWED', `the key may not write this: ${why}; ${state}`);
  }
}

export function keyOf(author: Author): KeyId {
  return typeof author === 'string' ? author : author.id;
}
