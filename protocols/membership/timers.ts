/**
 * The timers of one machine that have not come yet, by token. Starting and ending one costs no object: there are
 * several a second for each member, for ever. Not here: who calls when one is due, and what follows (membership.ts).
 */
import type { Member } from './state.ts';

export type TimerKind = 'tick' | 'late' | 'probe' | 'deadline' | 'reprobe' | 'redial' | 'takeBack' | 'relay';

interface Timer {
  /** 0: the place is free. */
  token: number;
  kind: TimerKind;
  /** A member, the number of a relayed question, or nothing. */
  of: Member | number | null;
  at_ms: number;
}

const FIRST_PLACES = 16;

export class Timers {
  /** Their number is a power of two; a timer's place is its token modulo that. */
  #places = freePlaces(FIRST_PLACES);
  #last = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @returns a token greater than all before it. */
  start(kind: TimerKind, of: Member | number | null, at_ms: number): number {
    if (this.#size * 2 >= this.#places.length) this.#grow();
    let place: Timer;
    do {
      this.#last += 1;
      place = this.#places[this.#last & (this.#places.length - 1)]!;
    } while (place.token !== 0);
    place.token = this.#last;
    place.kind = kind;
    place.of = of;
    place.at_ms = at_ms;
    this.#size += 1;
    return this.#last;
  }

  /** Undefined when it has ended. What it says holds until another is started: by its token one can tell. */
  get(token: number): Readonly<Timer> | undefined {
    const place = this.#places[token & (this.#places.length - 1)]!;
    return token > 0 && place.token === token ? place : undefined;
  }

  stop(token: number): void {
    const place = this.#places[token & (this.#places.length - 1)]!;
    if (token <= 0 || place.token !== token) return;
    place.token = 0;
    place.of = null;
    this.#size -= 1;
  }

  *values(): IterableIterator<Readonly<Timer>> {
    for (const place of this.#places) if (place.token !== 0) yield place;
  }

  /** Places that differ modulo one power of two differ modulo the next. */
  #grow(): void {
    const before = this.#places;
    this.#places = freePlaces(before.length * 2);
    for (const place of before)
      if (place.token !== 0) this.#places[place.token & (this.#places.length - 1)] = place;
  }
}

function freePlaces(count: number): Timer[] {
  return Array.from({ length: count }, () => ({ token: 0, kind: 'tick', of: null, at_ms: 0 }));
}
