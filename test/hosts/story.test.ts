import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';
import { DemoHosts } from '../../scripts/demo-parts/demo-hosts.ts';
import { createNamespacePlace } from '../../scripts/demo-parts/namespace-place.ts';
import { Report } from '../../scripts/demo-parts/report.ts';
import { runStory } from '../../scripts/demo-parts/story.ts';
import type { Subject } from '../../scripts/demo-parts/subject.ts';
import { makeBusybox } from './box-image.ts';
import { runPrefix } from './harness.ts';
import { whyNot } from './shoal-hosts.ts';

t.setTimeout(300_000);
const skip = await whyNot();

/** The demo has redis of Debian packages instead, which takes a minute to make. */
const subject: Subject = {
  name: 'web',
  image: 'web:1',
  protocol: 'http',
  port: 8080,
  async publish(hosts) {
    const directory = path.join(hosts.host(1).directory, 'web');
    makeBusybox(directory, { 'www/index.html': 'a page' });
    const serve = ['httpd', '-f', '-p', '8080', '-h', '/www'].flatMap((text) => ['--command', text]);
    await hosts.shoal(hosts.host(1), ['image', 'build', directory, '--name', 'web:1', ...serve]);
    return 'web:1 of busybox';
  },
};

t.test('the story of the demo', { skip }, async (t) => {
  const directory = mkdtempSync(path.join(tmpdir(), `${runPrefix()}-`));
  const lines: string[] = [];
  const report = new Report((text) => lines.push(text));
  const hosts = new DemoHosts(await createNamespacePlace(3), directory, 3, AbortSignal.timeout(240_000));
  try {
    await runStory({ hosts, subject, report, keep: false });
    t.comment(report.table());
  } catch (error) {
    t.comment(lines.join(''));
    throw error;
  } finally {
    await hosts[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  }
  t.same(hosts.remains(), [], 'nothing is left');
});
