// Package changes has what all pages share that change something. The forms of these pages count what they cover before
// they ask for a confirmation, and say which queues are paused. A confirmed change runs in the background, and has a
// page that shows its progress. Actions of people are recorded, and one page lists the record.
//
// What a form asks, and what a change does, is in the package of its page.
package changes
