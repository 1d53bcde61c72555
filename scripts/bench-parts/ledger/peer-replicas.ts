/**
 * yjs, automerge and loro as replicas: a map of text, each in the way that its own documentation gives for updates that
 * come over a network. They are installed beside this file on demand and are no dependencies of shoal; what is used
 * of them is described here, so that the types hold where they are not installed.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import { type Grouping, inGroups, type MakeReplica } from './replica.ts';
import { BATCH, type Update } from './trace.ts';

export const PEERS_DIRECTORY = path.resolve(import.meta.dirname, '../peers');
const load = createRequire(path.join(PEERS_DIRECTORY, 'package.json'));

interface YMap {
  set(key: string, value: string): void;
  get(key: string): string | undefined;
}
interface YDoc {
  getMap(name: string): YMap;
  on(event: 'update', listener: (update: Uint8Array) => void): void;
}
interface Yjs {
  readonly Doc: new () => YDoc;
  applyUpdate(doc: YDoc, update: Uint8Array): void;
  mergeUpdates(updates: readonly Uint8Array[]): Uint8Array;
}

/** One update event for each transaction; batches by mergeUpdates, which the sender does. */
export function yjsReplicas(trace: readonly Update[], grouping: Grouping): MakeReplica {
  const yjs = load('yjs') as Yjs;
  const writer = new yjs.Doc();
  const updates: Uint8Array[] = [];
  writer.on('update', (update) => updates.push(update));
  const map = writer.getMap('records');
  for (const { key, value } of trace) map.set(key, value);
  const messages =
    grouping === 'one' ? updates : inGroups(updates, BATCH).map((group) => yjs.mergeUpdates(group));
  return () => {
    const doc = new yjs.Doc();
    const records = doc.getMap('records');
    return {
      apply() {
        for (const message of messages) yjs.applyUpdate(doc, message);
      },
      read: (key) => records.get(key),
    };
  };
}

interface AutomergeDoc {
  readonly records: Record<string, string>;
}
interface Automerge {
  from(start: AutomergeDoc): AutomergeDoc;
  init(): AutomergeDoc;
  change(doc: AutomergeDoc, edit: (doc: AutomergeDoc) => void): AutomergeDoc;
  getAllChanges(doc: AutomergeDoc): Uint8Array[];
  getLastLocalChange(doc: AutomergeDoc): Uint8Array | undefined;
  applyChanges(doc: AutomergeDoc, changes: readonly Uint8Array[]): readonly [AutomergeDoc];
  readonly RawString?: new (value: string) => string;
  readonly ImmutableString?: new (value: string) => string;
}

/** Values are scalars and not collaborative texts, which would cost a character list for each. */
export function automergeReplicas(trace: readonly Update[], grouping: Grouping): MakeReplica {
  const automerge = load('@automerge/automerge') as Automerge;
  const Scalar = automerge.ImmutableString ?? automerge.RawString;
  if (Scalar === undefined) throw new Error('this automerge has no scalar strings');
  let writer = automerge.from({ records: {} });
  const first = automerge.getAllChanges(writer);
  const changes = trace.map(({ key, value }) => {
    writer = automerge.change(writer, (doc) => {
      doc.records[key] = new Scalar(value);
    });
    return automerge.getLastLocalChange(writer)!;
  });
  const messages = grouping === 'one' ? changes.map((change) => [change]) : inGroups(changes, BATCH);
  return () => {
    let [doc] = automerge.applyChanges(automerge.init(), first);
    return {
      apply() {
        for (const message of messages) [doc] = automerge.applyChanges(doc, message);
      },
      read: (key) => doc.records[key]?.toString(),
    };
  };
}

interface LoroMap {
  set(key: string, value: string): void;
  get(key: string): string | undefined;
}
interface LoroDoc {
  getMap(name: string): LoroMap;
  commit(): void;
  version(): object;
  export(mode: { mode: 'update'; from: object }): Uint8Array;
  import(update: Uint8Array): unknown;
}
interface Loro {
  readonly LoroDoc: new () => LoroDoc;
}

/** One commit for each update; a batch is one export of many commits. */
export function loroReplicas(trace: readonly Update[], grouping: Grouping): MakeReplica {
  const loro = load('loro-crdt') as Loro;
  const writer = new loro.LoroDoc();
  const map = writer.getMap('records');
  const messages = inGroups(trace, grouping === 'one' ? 1 : BATCH).map((group) => {
    const from = writer.version();
    for (const { key, value } of group) {
      map.set(key, value);
      writer.commit();
    }
    return writer.export({ mode: 'update', from });
  });
  return () => {
    const doc = new loro.LoroDoc();
    const records = doc.getMap('records');
    return {
      apply() {
        for (const message of messages) doc.import(message);
      },
      read: (key) => records.get(key),
    };
  };
}
