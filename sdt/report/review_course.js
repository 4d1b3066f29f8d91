const PLOT = { left: 26, right: 352, top: 8, bottom: 78 };

/** How probable the given label was in each round: the mean of the seeds, and their range. */
class CourseChart {
  /** `drawn` has the `rounds` of the points and the number of seeds; undefined without a course. */
  constructor(drawn) {
    this.rounds = drawn?.rounds ?? [];
    if (!this.rounds.length) return;
    const [count, last, { numSeeds }] = [this.rounds.length, this.rounds.at(-1), drawn];
    const about = [
      numSeeds > 1 ? `mean and range of ${numSeeds} seeds` : "",
      count < last ? `${count} of ${last} rounds` : "",
    ];
    const more = about.filter(Boolean).join(", ");
    $("course-about").textContent = `Probability of the given label${more && `: ${more}`}`;
    const middle = count > 2 ? this.rounds[Math.floor((count - 1) / 2)] : null;
    const ticks = { first: 1, middle, last: count > 1 ? last : null };
    for (const [name, round] of Object.entries(ticks)) {
      if (round === null) continue;
      $(`course-${name}`).textContent = round === 1 ? "round 1" : round;
      $(`course-${name}`).setAttribute("x", this.x(round));
    }
  }

  x(round) {
    const last = this.rounds.at(-1);
    const share = last > 1 ? (round - 1) / (last - 1) : 0.5;
    return (PLOT.left + share * (PLOT.right - PLOT.left)).toFixed(1);
  }

  y(percent) {
    return (PLOT.bottom - (percent / 100) * (PLOT.bottom - PLOT.top)).toFixed(1);
  }

  /** Draws the course of an example; nothing where there is none. */
  show(one) {
    const isDrawn = Boolean(one?.course) && this.rounds.length > 0;
    $("course").hidden = !isDrawn;
    if (!isDrawn) return;
    const [mean, lowest = [], highest = []] = one.course;
    const point = (value, index) => `${this.x(this.rounds[index])},${this.y(value)}`;
    const band = [...highest.map(point), ...lowest.map(point).reverse()];
    $("course-line").setAttribute("points", mean.map(point).join(" "));
    $("course-band").setAttribute("points", band.join(" "));
    $("course-end").setAttribute("cx", this.x(this.rounds.at(-1)));
    $("course-end").setAttribute("cy", this.y(mean.at(-1)));
    $("course-chart").setAttribute("aria-label", this.inWords(mean));
  }

  /** Returns what the line says, for those who do not see it. */
  inWords(mean) {
    const [last, best] = [mean.length - 1, mean.indexOf(Math.max(...mean))];
    const said = (index) => `${(mean[index] / 100).toFixed(2)} in round ${this.rounds[index]}`;
    return `Probability of the given label: ${said(0)}, ${said(last)}, highest ${said(best)}`;
  }
}
