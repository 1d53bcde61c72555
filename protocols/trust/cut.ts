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

export function isAfter(place: Place, cut: Cut): boolean {
  return place.epoch > cut.epoch || (place.epoch === cut.epoch && place.seq > cut.last);
}

/** Negative when `a` leaves less than `b`. */
export function compareCuts(a: Cut, b: Cut): number {
  return a.epoch - b.epoch || a.last - b.last;
}
