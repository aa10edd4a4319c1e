// SPDX-License-Identifier: Apache-2.0

// Package kubernetes has properties that no Go type describes.
package kubernetes

import "reflect"

// UntypedArgs are the properties of an object, as they are on the wire.
type UntypedArgs map[string]any

// ElementType makes them an input.
func (UntypedArgs) ElementType() reflect.Type {
	return reflect.TypeFor[map[string]any]()
}
