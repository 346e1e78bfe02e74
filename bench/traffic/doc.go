// Package traffic makes up labelled traffic: ordinary people, and campaigns that
// abuse numbers. New makes a World from a seed; its Events come in the order of
// their times and carry the truth, and Write writes them as a file that replay
// reads. The same Config gives the same bytes, on every machine.
//
// It is there to see a policy at work, to compare two policies, and to notice when
// a change makes one worse. It is NO EVIDENCE about the real world: what it shows
// of precision and recall was made up with it. What it assumes:
//
//   - People sign up over two weeks, three times as many at the busiest hour of a day as at
//     the quietest. Seven in eight verify, some after texts sent again. They come back a few times.
//   - One in eleven shares a number within a family of two to four, one in eight sits in an
//     office behind one address, and three in ten come through a carrier's NAT: eight
//     addresses in each of three networks. One in twenty gives no number, one in fifty changes
//     it, one in sixteen has a number of another country, one in 500 mistypes it.
//   - Once, 15 to 30 % of all people sign up within an hour or three: a launch.
//   - Campaigns follow the recipes on the constants below. How hard each goes about it is
//     drawn at random for each seed, evenly on a logarithmic scale, between bounds that
//     reach from what hardly pays to what is seen at a glance.
//   - Some of the abuse is reported days later, for one event in four.
//
// Numbers are kept for fiction and belong to nobody: 555-0100 to 555-0199 in every area code
// of the North American plan that has ordinary lines, and the thousand numbers in each of Berlin,
// Frankfurt, Hamburg, Cologne and Munich that the German regulator keeps for films. A block of
// North American numbers thus has 100 numbers where a real one has 10,000; campaigns that
// walk through a block end after 100 and go on in another. Numbers are drawn without putting back, so
// that no two strangers share one by accident, and a world has at most MaxPeople.
package traffic
