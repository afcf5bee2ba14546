// Package dashboard puts the web pages of the monitor together. It has the overview and the list of several databases.
// The other pages are in the packages below it, by subject, and package shell has what is around every page.
//
// To add a page, see package shell. To give a page new data, add a field to Sources and to the Pages that need it, and
// connect the two in the method connect.
package dashboard
