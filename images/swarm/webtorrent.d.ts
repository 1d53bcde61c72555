/** The package has no types of its own; what is used of it is described in torrents.ts, its one importer. */
declare module 'webtorrent' {
  const WebTorrent: new (options: Record<string, unknown>) => unknown;
  export default WebTorrent;
}
