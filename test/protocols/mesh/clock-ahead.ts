/** The clock of this process put ahead, for the libraries that read it themselves: they make and judge certificates by it. */

/** @returns how to set it back. */
export function clockAhead(ahead_ms: number): () => void {
  const RightDate = Date;
  globalThis.Date = class extends RightDate {
    static override now = () => RightDate.now() + ahead_ms;
    constructor(...given: [] | [number]) {
      super(...((given.length === 0 ? [RightDate.now() + ahead_ms] : given) as [number]));
    }
  } as DateConstructor;
  return () => {
    globalThis.Date = RightDate;
  };
}
