/**
 * What `shoal run` shows while it waits: placement, then a bar for each layer with where its bytes come from, then
 * health. Pure: from a state of the workload to lines of text; showing them is progress-display.ts.
 */
import type { LayerProgress, WatchEvent } from '../api/schemas.ts';
import { printable, shortDigest, sizeText } from './text.ts';

const BAR_WIDTH = 24;
/** More layers or instances than this are summed up in one line. */
export const ROWS_MAX = 20;

/** Instances that run the newest generation and are healthy, counted once per slot. */
export function healthySlots({ workload, allocations }: WatchEvent): number {
  const slots = new Set<number>();
  for (const one of allocations) {
    const current = one.generation === workload.generation && one.nodeStatus !== 'failed';
    if (current && one.phase === 'running' && one.health === 'healthy') slots.add(one.index);
  }
  return slots.size;
}

function bar(done: number, size: number): string {
  const share = size === 0 ? 1 : Math.min(1, done / size);
  const full = Math.round(share * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}] ${String(Math.floor(share * 100)).padStart(3)}%`;
}

function sourcesText(layer: LayerProgress): string {
  const sources = layer.sources.filter((source) => source.bytes > 0);
  if (sources.length === 0) return '';
  return `from ${sources.map((source) => `${printable(source.nodeName)} ${sizeText(source.bytes)}`).join(', ')}`;
}

function capped(lines: string[], what: string): string[] {
  if (lines.length <= ROWS_MAX) return lines;
  return [...lines.slice(0, ROWS_MAX - 1), `  and ${lines.length - ROWS_MAX + 1} more ${what}`];
}

/** Lines for a terminal that is redrawn. @param width columns; longer lines are cut. */
export function progressLines(event: WatchEvent, width: number): string[] {
  const { workload, allocations, images, waiting } = event;
  const state = `${healthySlots(event)} of ${workload.desired} healthy`;
  const instances = [...allocations]
    .sort((a, b) => a.index - b.index)
    .map((one) => {
      const phase = one.phase === 'running' ? one.health : one.phase;
      const tail = [one.address ?? '', one.reason ?? ''].filter(Boolean).join('  ');
      return `  ${`${one.workload}/${one.index}`.padEnd(16)} ${printable(one.nodeName).padEnd(14)} ${phase.padEnd(10)} ${printable(tail)}`;
    });
  const unplaced = waiting.map(
    (slot) =>
      `  ${`${workload.name}/${slot.index}`.padEnd(16)} not placed: ${slot.reasons.map(printable).join('; ')}`,
  );
  const layers = images.flatMap(({ nodeName, layers }) =>
    layers.map((layer) => {
      const name = `${printable(nodeName)} ${shortDigest(layer.digest)}`.padEnd(28);
      return `  ${name} ${bar(layer.done, layer.size)} ${sizeText(layer.size).padStart(10)} ${layer.phase.padEnd(9)} ${sourcesText(layer)}`;
    }),
  );
  return [
    `${workload.namespace}/${workload.name} generation ${workload.generation}: ${state}`,
    ...capped([...instances, ...unplaced], 'instances'),
    ...(layers.length > 0 ? ['  layers:'] : []),
    ...capped(layers, 'layers'),
  ].map((line) => line.trimEnd().slice(0, Math.max(20, width - 1)));
}

/**
 * Lines for a log: a key and a text each; a line is worth showing when the text of its key has changed.
 * A layer changes its text at each quarter.
 */
export function progressFacts(event: WatchEvent): Map<string, string> {
  const { workload, allocations, images, waiting } = event;
  const facts = new Map<string, string>();
  for (const one of allocations) {
    const phase = one.phase === 'running' ? `running, ${one.health}` : one.phase;
    const reason = one.reason ? `: ${one.reason}` : '';
    const address = one.address ? ` at ${one.address}` : '';
    facts.set(
      `slot ${one.index} ${one.node}`,
      printable(`${one.workload}/${one.index} on ${one.nodeName}: ${phase}${address}${reason}`),
    );
  }
  for (const slot of waiting) {
    facts.set(
      `waiting ${slot.index}`,
      printable(`${workload.name}/${slot.index} is not placed: ${slot.reasons.join('; ')}`),
    );
  }
  for (const { node, nodeName, layers } of images) {
    for (const layer of layers) {
      const quarter = layer.size === 0 ? 4 : Math.floor((layer.done / layer.size) * 4);
      const share = layer.phase === 'fetching' ? ` ${quarter * 25}%` : '';
      const sources = layer.phase === 'ready' || quarter > 0 ? sourcesText(layer) : '';
      const key = `layer ${node} ${layer.digest}`;
      // Only phase and quarter decide whether it is new; the bytes by source go along.
      facts.set(
        `${key} ${layer.phase}${share}`,
        `layer ${shortDigest(layer.digest)} on ${printable(nodeName)}: ${layer.phase}${share} of ${sizeText(layer.size)} ${sources}`.trimEnd(),
      );
    }
  }
  facts.set(
    'healthy',
    `${workload.namespace}/${workload.name}: ${healthySlots(event)} of ${workload.desired} healthy`,
  );
  return facts;
}
