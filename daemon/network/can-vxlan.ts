/** Whether this process can have a VXLAN network here: found out by making one in a namespace made for it. */
import { randomBytes } from 'node:crypto';
import { type RunCommand, runCommand } from './run-command.ts';

/** @returns true, or the reason why not. It leaves nothing behind. */
export async function canVxlan(run: RunCommand = runCommand): Promise<true | string> {
  if (process.platform !== 'linux') return 'VXLAN needs Linux';
  if (process.geteuid?.() !== 0) return 'VXLAN needs root';
  const netns = `shoal-probe-${process.pid}-${randomBytes(3).toString('hex')}`;
  const inside = ['ip', '-n', netns, '-batch', '-'];
  try {
    const made = await run(['ip', 'netns', 'add', netns]);
    if (made.code !== 0) return `network namespaces do not work here: ${made.stderr.trim()}`;
    try {
      const lines = [
        'link add b0 type bridge',
        'link add v0 type veth peer name v1',
        'link add x0 type vxlan id 1 dstport 4789 local 127.0.0.1 nolearning',
      ];
      const probe = await run(inside, `${lines.join('\n')}\n`);
      if (probe.code !== 0)
        return `the kernel refuses a bridge, veth or VXLAN device: ${probe.stderr.trim()}`;
    } finally {
      await run(['ip', 'netns', 'del', netns]);
    }
    const bridge = await run(['bridge', '-V']);
    return bridge.code === 0 ? true : 'the program bridge of iproute2 does not run';
  } catch (error) {
    return `iproute2 is missing: ${String(error)}`;
  }
}
