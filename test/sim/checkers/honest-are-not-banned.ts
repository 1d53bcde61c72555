/** No honest member is ever banned by an honest one, whatever goes wrong around them. */
import { shortId } from '../../../protocols/base/ids.ts';
import type { Checker } from './checker.ts';

export const honestAreNotBanned: Checker = ({ chronicle, stage }) => {
  const isHonest = (id: string) => !stage.byzantine.includes(id) && !stage.revoked.has(id);
  return chronicle.bans
    .filter(({ node, peer }) => isHonest(node) && isHonest(peer))
    .map(({ node, peer, at_ms, offences }) => {
      const counted = Object.entries(offences).filter(([, count]) => count > 0);
      const why = counted.map(([offence, count]) => `${count} ${offence}`).join(', ');
      return `${shortId(node)} banned ${shortId(peer)} at ${Math.round(at_ms)} ms (${why})`;
    });
};
