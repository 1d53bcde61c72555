/** Times and caps of fetching and sharing. A test changes what it must; nobody else needs to. */
export interface SwarmTuning {
  /** A fetch fails with E_NO_SOURCE after so long without a new byte. */
  readonly noProgress_ms: number;
  /** How often a fetch looks for more peers. */
  readonly look_ms: number;
  /** One search for providers. */
  readonly search_ms: number;
  /** Between two searches for providers of one blob. */
  readonly searchPause_ms: number;
  /** A peer that gave nothing is asked again after this, doubled each time up to the second. */
  readonly backoff_ms: number;
  readonly backoff_ms_max: number;
  /** A torrent that serves nobody for so long is closed. */
  readonly seedIdle_ms: number;
}

export const SWARM_TUNING: SwarmTuning = {
  noProgress_ms: 60_000,
  look_ms: 500,
  search_ms: 5_000,
  searchPause_ms: 10_000,
  backoff_ms: 500,
  backoff_ms_max: 16_000,
  seedIdle_ms: 60_000,
};

export const SWARM_LIMITS = {
  /** Wires that one fetch opens itself; others may come in. */
  wiresDialled_max: 8,
  /** Wires of one blob in all; a further one is refused. */
  wires_max: 64,
  /** Torrents open at once, fetching or serving; wires for further blobs are refused. */
  sessions_max: 64,
  /** Peers that one fetch knows of. */
  candidates_max: 64,
  /** A blob whose pieces all matched and whose SHA-256 does not is fetched so often in all. */
  attempts_max: 2,
} as const;
