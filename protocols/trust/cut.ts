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
