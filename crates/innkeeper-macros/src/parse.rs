//! Reads an `impl` block and refuses, by name, what cannot be made a process.

use proc_macro2::Ident;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, ImplItem, ImplItemFn, ItemImpl, Pat, ReceiverKind, Result, ReturnType,
    Token, Type, Visibility,
};

/// What an `impl` block says.
pub(crate) struct Process {
    pub(crate) options: Options,
    /// The block as it was, without our attributes.
    pub(crate) block: ItemImpl,
    pub(crate) name: Ident,
    pub(crate) vis: Visibility,
    pub(crate) init: Init,
    pub(crate) handlers: Vec<Handler>,
    pub(crate) callbacks: Vec<Callback>,
}

/// What stands behind `#[process`.
#[derive(Default)]
pub(crate) struct Options {
    /// Whether others may talk to it from another node.
    pub(crate) is_remote: bool,
    /// What it exposes to them.
    pub(crate) exposes: Option<Type>,
}

pub(crate) struct Init {
    /// The type behind the reference; none, and it is `()`.
    pub(crate) args: Option<Type>,
    pub(crate) takes_ctx: bool,
    pub(crate) is_async: bool,
}

/// One thing that can be said to the process.
pub(crate) struct Handler {
    pub(crate) name: Ident,
    pub(crate) docs: Vec<Attribute>,
    pub(crate) is_call: bool,
    pub(crate) is_async: bool,
    pub(crate) takes_ctx: bool,
    pub(crate) args: Vec<(Ident, Type)>,
    pub(crate) reply: Option<Type>,
}

/// A callback of the trait that the block overrides.
pub(crate) struct Callback {
    pub(crate) name: Ident,
    pub(crate) is_async: bool,
    pub(crate) takes_event: bool,
    pub(crate) takes_ctx: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Options::default();
        if input.is_empty() {
            return Ok(options);
        }
        let expected = "expected `#[process]`, `#[process(remote)]` or \
                        `#[process(remote, exposes = Type)]`";
        let known = |input: ParseStream<'_>, known: &str| match input.parse::<Ident>() {
            Ok(option) if option == known => Ok(()),
            Ok(other) => Err(Error::new(other.span(), expected)),
            Err(error) => Err(Error::new(error.span(), expected)),
        };
        known(input, "remote")?;
        options.is_remote = true;
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
            known(input, "exposes")?;
            input.parse::<Token![=]>()?;
            options.exposes = Some(input.parse()?);
        }
        Ok(options)
    }
}

pub(crate) fn process(mut block: ItemImpl, options: Options) -> Result<Process> {
    if let Some((path, _)) = &block.trait_ {
        return Err(Error::new(path.span(), "expected `impl Type`, got the `impl` of a trait"));
    }
    if !block.generics.params.is_empty() {
        let message = "expected a type without parameters; write `impl Process` by hand for others";
        return Err(Error::new(block.generics.span(), message));
    }
    let name = type_name(&block.self_ty)?;
    let (mut init, mut handlers, mut callbacks, mut vis) = (None, Vec::new(), Vec::new(), None);
    for item in &mut block.items {
        let ImplItem::Fn(method) = item else { continue };
        let said = take_kind(method)?;
        match (said, method.sig.ident.to_string().as_str()) {
            (Some(is_call), _) => {
                vis.get_or_insert_with(|| method.vis.clone());
                handlers.push(handler(method, is_call)?);
            }
            (None, "init") => init = Some((parse_init(method)?, method.vis.clone())),
            (None, "terminate" | "down" | "link_exit" | "lagged" | "idle" | "on_handoff") => {
                callbacks.push(callback(method)?);
            }
            (None, _) => {}
        }
    }
    let missing = "expected `async fn init(args: &Args) -> Result<Self, StartError>`";
    let (init, vis_of_init) = init.ok_or_else(|| Error::new(block.self_ty.span(), missing))?;
    let vis = vis.unwrap_or(vis_of_init);
    Ok(Process { options, block, name, vis, init, handlers, callbacks })
}

fn type_name(of: &Type) -> Result<Ident> {
    let Type::Path(path) = of else {
        return Err(Error::new(of.span(), "expected the name of a type"));
    };
    let last = path.path.segments.last();
    let last = last.ok_or_else(|| Error::new(of.span(), "expected the name of a type"))?;
    Ok(last.ident.clone())
}

/// Takes `#[call]` (`true`) or `#[cast]` (`false`) off a method.
fn take_kind(method: &mut ImplItemFn) -> Result<Option<bool>> {
    let mut kind = None;
    let mut twice = None;
    method.attrs.retain(|attr| {
        let is_call = attr.path().is_ident("call");
        if !is_call && !attr.path().is_ident("cast") {
            return true;
        }
        if kind.replace(is_call).is_some() {
            twice = Some(attr.span());
        }
        false
    });
    match twice {
        Some(span) => Err(Error::new(span, "expected one `#[call]` or `#[cast]`")),
        None => Ok(kind),
    }
}

fn parse_init(method: &ImplItemFn) -> Result<Init> {
    let mut init = Init { args: None, takes_ctx: false, is_async: method.sig.asyncness.is_some() };
    for input in &method.sig.inputs {
        let FnArg::Typed(input) = input else {
            return Err(Error::new(input.span(), "`init` makes the state, so it takes no `self`"));
        };
        if is_context(&input.ty) {
            init.takes_ctx = true;
        } else if init.args.is_some() || init.takes_ctx {
            let message = "expected `args: &Args` and then `ctx: &mut Context<Self>`, at most";
            return Err(Error::new(input.span(), message));
        } else {
            let Type::Reference(args) = &*input.ty else {
                let message = "expected a reference: the arguments are kept for restarts";
                return Err(Error::new(input.ty.span(), message));
            };
            init.args = Some((*args.elem).clone());
        }
    }
    Ok(init)
}

fn handler(method: &ImplItemFn, is_call: bool) -> Result<Handler> {
    let sig = &method.sig;
    let mut inputs = sig.inputs.iter();
    let receiver = inputs.next().and_then(|input| match input {
        FnArg::Receiver(this) => Some(&this.kind),
        FnArg::Typed(_) => None,
    });
    if !matches!(receiver, Some(ReceiverKind::Reference(..))) {
        return Err(Error::new(sig.span(), "expected `&mut self` or `&self`"));
    }
    let (mut args, mut takes_ctx) = (Vec::new(), false);
    for input in inputs {
        let FnArg::Typed(input) = input else { continue };
        if takes_ctx {
            return Err(Error::new(input.span(), "expected the context as the last parameter"));
        }
        if is_context(&input.ty) {
            takes_ctx = true;
            continue;
        }
        if let Type::Reference(reference) = &*input.ty {
            let message = "expected an owned argument: it travels to another task";
            return Err(Error::new(reference.span(), message));
        }
        let Pat::Ident(pattern) = &*input.pat else {
            return Err(Error::new(input.pat.span(), "expected a name for the argument"));
        };
        args.push((pattern.ident.clone(), (*input.ty).clone()));
    }
    let reply = match &sig.output {
        ReturnType::Default => None,
        ReturnType::Type(_, reply) if is_call => Some((**reply).clone()),
        ReturnType::Type(_, reply) => {
            return Err(Error::new(reply.span(), "a cast answers nothing; make it a `#[call]`"));
        }
    };
    if let Some(param) = sig.generics.params.first() {
        return Err(Error::new(param.span(), "expected a method without parameters of types"));
    }
    let docs = method.attrs.iter().filter(|attr| attr.path().is_ident("doc")).cloned().collect();
    let is_async = sig.asyncness.is_some();
    Ok(Handler { name: sig.ident.clone(), docs, is_call, is_async, takes_ctx, args, reply })
}

fn callback(method: &ImplItemFn) -> Result<Callback> {
    let mut callback = Callback {
        name: method.sig.ident.clone(),
        is_async: method.sig.asyncness.is_some(),
        takes_event: false,
        takes_ctx: false,
    };
    for input in &method.sig.inputs {
        let FnArg::Typed(input) = input else { continue };
        if is_context(&input.ty) {
            callback.takes_ctx = true;
        } else if callback.takes_event || callback.takes_ctx || is_bare(&callback) {
            return Err(Error::new(input.span(), "see `innkeeper::Process` for its parameters"));
        } else {
            callback.takes_event = true;
        }
    }
    Ok(callback)
}

/// Whether there is nothing to tell it but the context.
fn is_bare(callback: &Callback) -> bool {
    callback.name == "idle" || callback.name == "on_handoff"
}

/// Whether this is `&mut Context<..>`, by whatever path.
fn is_context(of: &Type) -> bool {
    let Type::Reference(reference) = of else { return false };
    let Type::Path(path) = &*reference.elem else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Context")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(block: ItemImpl) -> String {
        process(block, Options::default()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_process_without_init_is_refused_by_name() {
        let refused = refused(syn::parse_quote!(
            impl Room {
                #[call]
                fn count(&self) -> usize {}
            }
        ));
        assert_eq!(refused, "expected `async fn init(args: &Args) -> Result<Self, StartError>`");
    }

    #[test]
    fn a_handler_that_takes_its_state_away_is_refused() {
        let refused = refused(syn::parse_quote!(
            impl Room {
                #[call]
                fn count(self) -> usize {}
            }
        ));
        assert_eq!(refused, "expected `&mut self` or `&self`");
    }
}
