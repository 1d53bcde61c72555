/** Places in what one key has written, and cuts: the last place that counts. */

export interface Place {
  readonly epoch: number;
  readonly seq: number;
}

/** Everything after (epoch, last) is void. */
export interface Cut {
  readonly epoch: number;
  readonly last: number;
}

/** Nothing counts: the first record is numbered 1. */
export const NOTHING: Cut = { epoch: 0, last: 0 };

export function isAfter(place: Place, cut: Cut): boolean {
  return place.epoch > cut.epoch || (place.epoch === cut.epoch && place.seq > cut.last);
}

/** Negative when `a` leaves less than `b`. */
export function compareCuts(a: Cut, b: Cut): number {
  return a.epoch - b.epoch || a.last - b.last;
}

/** Behind the last of these places, which are all of one key; they may come in any order. */
export function cutAfter(places: Iterable<Place>): Cut {
  let cut = NOTHING;
  for (const place of places) if (isAfter(place, cut)) cut = { epoch: place.epoch, last: place.seq };
  return cut;
}

/**
 * Before the first of these places that is later than what is to count. Stamps need not grow with places: where one
 * stands behind a later one, whoever signed it has set a clock back, or dated it back.
 */
export function cutBefore<T extends Place>(places: Iterable<T>, isLater: (place: T) => boolean): Cut {
  const all = [...places];
  let first: Cut | undefined;
  for (const place of all)
    if (isLater(place) && (first === undefined || !isAfter(place, first)))
      first = { epoch: place.epoch, last: place.seq };
  return cutAfter(
    all.filter(({ epoch, seq }) => first === undefined || compareCuts({ epoch, last: seq }, first) < 0),
  );
}
